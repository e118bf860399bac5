"""`repro export`: a detector as a file that other libraries run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import models, names, options, output
from repro.cli.models import Model
from repro.errors import ExportError

if TYPE_CHECKING:
    from repro.deploy.graph import RawGraph


class Format(StrEnum):
    """What can be written."""

    ONNX = "onnx"
    TENSORRT = "tensorrt"


SUFFIX = {Format.ONNX: ".onnx", Format.TENSORRT: ".engine"}

EXAMPLES = """Examples:

repro export rtdetr/table2/rtdetrv2-r18vd --scale tiny

repro export rtdetr/rtdetrv2_r18vd.py --weights rtdetrv2_r18vd_120e_coco.pth --output s.onnx
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export", rich_help_panel="Use", epilog=EXAMPLES)(export)


def export(
    model: models.Argument,
    format: Annotated[Format, typer.Option("--format", "-f", help="Of the file.")] = Format.ONNX,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: named after MODEL, here.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Of the images: 640, 480x640. Default: as evaluated.")
    ] = None,
    postprocess: Annotated[
        bool, typer.Option("--postprocess/--raw", help="Detections in pixels, or logits and boxes as they are.")
    ] = True,
    opset: Annotated[int, typer.Option("--opset", help="Version of ONNX's operators, from 17 on.")] = 18,
    batch: Annotated[int | None, typer.Option("--batch", help="A fixed batch size. Default: any.")] = None,
    half: Annotated[bool, typer.Option("--half", help="TensorRT in half precision, norms excepted.")] = False,
    scale: options.Scale = None,
    seed: models.Seed = None,
    weights: models.Weights = None,
    random: models.Random = False,
    cluster: options.Cluster = None,
    results: options.Results = None,
    as_json: options.Json = False,
) -> None:
    """Write a detector of the DETR family as an ONNX file, or a TensorRT engine, and compare it with PyTorch.

    Inputs are `images`, float RGB in 0…1 stretched to the size, and `orig_target_sizes`, the (width, height) of each
    original; outputs `labels`, `boxes` (xyxy in pixels of the original) and `scores`, best first. With --raw: `images`
    to `pred_logits` and `pred_boxes` (cxcywh in 0…1). TensorRT has not been tried on any machine yet.
    """
    _refuse(format, half)
    found = models.weighted(models.find(model, scale, seed), weights, random, names.load_cluster(cluster).output_root)
    height_width = parse_size(size) if size else _own_size(found)
    path = out or Path(f"{found.stem}{SUFFIX[format]}")
    about = _write(found, path, format, height_width, postprocess, {"opset": opset, "batch": batch}, half)
    if as_json:
        output.say_json(about)
        return
    output.say(output.short(path))
    for line in _told(about):
        output.remark(line)


def _refuse(format: Format, half: bool) -> None:
    """Refuse what cannot be, before anything is made."""
    if format is Format.TENSORRT:
        from repro.deploy.tensorrt_engine import tensorrt

        tensorrt()
    elif half:
        raise ExportError("--half is for --format tensorrt; an ONNX file is in single precision")


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of ``640`` or ``480x640``.

    Raises:
        ExportError: it is no size.
    """
    sides = text.lower().replace("×", "x").split("x")
    if not 1 <= len(sides) <= 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise ExportError(f"--size {text!r} is no size: write 640, or HEIGHTxWIDTH as in 480x640")
    return int(sides[0]), int(sides[-1])


def _own_size(found: Model) -> tuple[int, int]:
    if found.size is None:
        raise ExportError(f"{found.name} is evaluated on images of many sizes, a file is of one: give --size HxW")
    return found.size


def _write(
    found: Model,
    path: Path,
    format: Format,
    size: tuple[int, int],
    postprocess: bool,
    settings: dict[str, Any],
    half: bool,
) -> dict[str, Any]:
    """Write the file and return what is to be known of it."""
    import torch

    from repro.deploy import onnx_file, tensorrt_engine
    from repro.deploy.graph import graph
    from repro.engine import predict, trained

    detector = trained.load(found.recipe, found.weights, torch.device("cpu"), evaluation=found.evaluation)
    made = graph(detector, postprocess)
    classes = predict.classes_of(found.dataset, made.detector).names
    onnx = path if format is Format.ONNX else path.with_suffix(".onnx")
    onnx_file.write(made, onnx, size, class_names=classes, **settings)
    about = {
        "file": str(path),
        "model": found.label,
        "weights": "random" if found.weights is None else str(found.weights),
        "size": list(size),
        "inputs": list(made.inputs),
        "outputs": list(made.outputs),
        "operators": onnx_file.operators(onnx),
        "difference": _difference(made, onnx, size, settings["batch"] or 2) if postprocess else None,
    }
    if format is Format.TENSORRT:
        tensorrt_engine.build(onnx, path, half=half, max_batch=settings["batch"] or 1)
    return about


def _difference(made: RawGraph, onnx: Path, size: tuple[int, int], batch: int) -> float | None:
    """Return how far ONNX Runtime's detections in random pixels are from PyTorch's; None where it is not installed."""
    import torch

    from repro.deploy import backends, compare
    from repro.deploy.graph import example_inputs

    device = torch.device("cpu")
    if backends.missing("onnxruntime", device):
        return None
    inputs = example_inputs(made, size, batch)
    with torch.no_grad():
        ours = [one.numpy() for one in made(*inputs)]
    theirs = backends.load("onnxruntime", made, onnx, device)(*inputs)
    return compare.difference(theirs, ours, inputs[1].numpy())


def _told(about: dict[str, Any]) -> list[str]:
    """Return what a person wants to know of a written file."""
    height, width = about["size"]
    grids = about["operators"].get("GridSample", 0)
    lines = [
        f"{about['model']}, {'random weights' if about['weights'] == 'random' else about['weights']}",
        f"{', '.join(about['inputs'])} of {height}×{width} → {', '.join(about['outputs'])}; "
        f"{sum(about['operators'].values())} operators, {grids or 'no'} GridSample",
    ]
    if about["difference"] is not None:
        lines.append(f"ONNX Runtime differs from PyTorch by at most {about['difference']:.1e} on random pixels")
    return lines
