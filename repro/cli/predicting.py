"""`repro predict`: a detector's boxes, drawn on pictures and written as COCO JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from repro.cli import models, names, options, output
from repro.cli.models import Model
from repro.errors import DataError, collect, did_you_mean

EXAMPLES = """Examples:

repro predict --model rtdetr/table2/rtdetrv2-r18vd --scale small photo.jpg more/*.png

repro predict --model rtdetr/rtdetrv2_r18vd.py --weights rtdetrv2_r18vd_120e_coco.pth --score-threshold 0.6 photos/
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("predict", rich_help_panel="Use", epilog=EXAMPLES)(predict)


def predict(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Files, folders, or patterns in quotes.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="TABLE/ROW, TABLE/ROW/COLUMN, a signature, or a recipe with --weights.")
    ],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where pictures and JSON go.")] = Path(
        "predictions"
    ),
    threshold: Annotated[
        float, typer.Option("--score-threshold", "-t", min=0.0, max=1.0, help="Least score of a box.")
    ] = 0.5,
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Draw the boxes.")] = True,
    evaluation: Annotated[
        str | None,
        typer.Option("--evaluation", metavar="RECIPE", help="Prepare images as this one. Default: as its table does."),
    ] = None,
    scale: options.Scale = None,
    seed: models.Seed = None,
    weights: models.Weights = None,
    random: models.Random = False,
    device: Annotated[str | None, typer.Option("--device", help="Torch's name of it. Default: a GPU.")] = None,
    cluster: options.Cluster = None,
    results: options.Results = None,
    as_json: options.Json = False,
) -> None:
    """Detect objects in pictures: draw the boxes, and write detections.json and image_info.json as COCO has them.

    Boxes are in pixels of each file as it is stored (rotation by EXIF is not applied). `detections.json` is a list of
    COCO results, with the name of the image and of the class in each; the ids in it are those of `image_info.json`.
    """
    files = gather(images)
    found = models.find(model, scale, seed, evaluation)
    found = models.weighted(found, weights, random, names.load_cluster(cluster).output_root)
    about = _run(found, files, out, threshold, pictures, device)
    if as_json:
        output.say_json(about)
        return
    for line in about["images"]:
        output.say(f"{line['file']}: {output.counted(line['detections'], 'detection')}{line['best']}")
    output.remark(f"{found.label}: wrote {output.short(out / 'detections.json')}")


def gather(given: Sequence[str]) -> list[Path]:
    """Return the image files that files, folders and patterns mean, each once, in the order given.

    Raises:
        DataError: something means no file; all faults in one message.
    """
    faults: list[str] = []
    files: dict[Path, None] = {}
    for one in given:
        path = Path(one).expanduser()
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in _suffixes())
            faults += [] if inside else [f"{one}: the folder holds no image ({', '.join(_suffixes())})"]
            files |= dict.fromkeys(inside)
        elif path.is_file():
            files[path] = None
        elif matches := _matching(path):
            files |= dict.fromkeys(match for match in matches if match.is_file())
        else:
            beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
            near = did_you_mean(path.name, beside) if len(beside) < 10_000 else ""
            faults.append(f"{one}: there is no such image.{f' {near}' if near.startswith('Did') else ''}")
    collect(faults, "images to predict", DataError)
    return list(files)


def _matching(pattern: Path) -> list[Path]:
    """Return what a pattern means, sorted; nothing where it is none."""
    fixed = next((parent for parent in pattern.parents if not set("*?[") & set(str(parent))), Path())
    inside = str(pattern.relative_to(fixed))
    return sorted(fixed.glob(inside)) if set("*?[") & set(inside) else []


def _suffixes() -> tuple[str, ...]:
    from repro.engine.predict import SUFFIXES

    return SUFFIXES


def _run(
    found: Model, files: Sequence[Path], out: Path, threshold: float, pictures: bool, device: str | None
) -> dict[str, Any]:
    """Detect, draw and write, and return what was done."""
    from repro.engine import distributed, predict, trained
    from repro.figures import _overlay

    images = predict.records(files)
    mapper = found.mapper
    detector = trained.load(found.recipe, found.weights, distributed.choose_device(device), evaluation=found.evaluation)
    classes = predict.classes_of(found.dataset, detector)
    lines: list[dict[str, Any]] = []
    told = []
    names_of = _picture_names(files)
    for one in predict.detect(detector, images, mapper, threshold):
        made = predict.results(one, classes)
        lines += made
        labels = [f"{line['category_name']} {line['score']:.0%}" for line in made]
        if pictures:
            drawn = _overlay.overlay(predict.pixels(one), one.boxes_xyxy_abs, labels, one.classes.tolist())
            _overlay.save(drawn, out / names_of[one.record["image_id"] - 1])
        best = f", best {labels[0]}" if labels else ""
        told.append({"file": one.record["file_name"], "detections": len(made), "best": best})
    out.mkdir(parents=True, exist_ok=True)
    (out / "detections.json").write_text(json.dumps(lines, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    info = json.dumps(predict.image_info(images, classes), indent=1, ensure_ascii=False)
    (out / "image_info.json").write_text(info + "\n", encoding="utf-8")
    return {"model": found.label, "output": str(out), "detections": len(lines), "images": told}


def _picture_names(files: Sequence[Path]) -> list[str]:
    """Return a name for each picture: the file's own, and where two files have the same, with its number."""
    own = [file.name for file in files]
    return [name if own.count(name) == 1 else f"{number}-{name}" for number, name in enumerate(own, 1)]
