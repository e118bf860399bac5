"""Few-shot sets: `coco_fewshot_{train,base,test}`, their k-shot draws, and generated ones of the same make.

COCO in the split of TFA (Wang et al. 2020, "Frustratingly Simple Few-Shot Object Detection"): COCO 2014, of which 5,000
images are to test on; the 20 classes that PASCAL VOC has too are novel, the other 60 are base classes. `…_base` is the
pool without the boxes of novel classes, and without images that show no base class. `…_train_10shot_seed0` is one of
the draws that TFA publishes: k = 1, 2, 3, 5, 10 or 30 boxes of each of the 80 classes, seeds 0 to 9. A recipe names the
pool and sets `data.shots`; the stage's seed chooses the draw.

All boxes that were drawn of an image stand in one record; others are not labelled, and a detector that is trained on it
takes them for background. (TFA's own reader gives each box a record: `data.one_box_a_record`. What DETReg did was not
published.)

`shapes_fewshot_{smoke,tiny,small}_{train,base,test}` are the generated shapes, of which two classes are novel; draws
are made here, k boxes a class or as many as there are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from repro.data import prepared
from repro.data.dataset import Dataset, Progress, Source, datasets_root, quiet, writable_root
from repro.data.datasets import coco, shapes
from repro.data.files import digest
from repro.data.records import numbered
from repro.errors import DataError, collect

NOVEL = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "boat", "bird", "cat", "dog", "horse"),
    *("sheep", "cow", "bottle", "chair", "couch", "potted plant", "dining table", "tv"),
)
NOVEL_SHAPES = ("ring", "star")
SHOTS, SEEDS = (1, 2, 3, 5, 10, 30), range(10)
FOLDER = "cocosplit"
FILES = {"train": "datasplit/trainvalno5k.json", "base": "datasplit/trainvalno5k.json", "test": "datasplit/5k.json"}
HOME = (
    "github.com/ucbdrive/few-shot-object-detection (cocosplit, whose place is in datasets/README.md) "
    "and cocodataset.org (train2014, val2014)"
)
DRAW = re.compile(r"(?P<pool>coco_fewshot_train|shapes_fewshot_\w+_train)_(?P<shots>\d+)shot_seed(?P<seed>\d+)")

Content = dict[str, Any]


def register(root: Path | None) -> list[Dataset]:
    """Describe pools, base sets and test sets; draws are found by `resolve`."""
    published = [_coco(part, datasets_root(root)) for part in FILES]
    return published + [_shapes(size, part, writable_root(root)) for size in shapes.SIZES for part in FILES]


def resolve(name: str, root: Path | None = None) -> Dataset | None:
    """Describe a draw, such as `coco_fewshot_train_10shot_seed0`; None for other names."""
    found = DRAW.fullmatch(name)
    if found is None:
        return None
    shots, seed = int(found["shots"]), int(found["seed"])
    if found["pool"].startswith("coco"):
        return _coco_draw(name, shots, seed, datasets_root(root))
    size = found["pool"].split("_")[2]
    if size not in shapes.SIZES:
        return None
    return _shapes(size, "train", writable_root(root), name, partial(draw, shots=shots, seed=seed))


def drawn(pool: str, shots: int, seed: int) -> str:
    """Name of a draw from a pool."""
    return f"{pool}_{shots}shot_seed{seed}"


def base_only(content: Content, novel: tuple[str, ...]) -> Content:
    """Annotations of the base classes, and the images that have one; the categories stay as they are."""
    out = {category["id"] for category in content["categories"] if category["name"] in novel}
    annotations = [entry for entry in content["annotations"] if entry["category_id"] not in out]
    return _of_these(content, annotations)


def draw(content: Content, shots: int, seed: int) -> Content:
    """`shots` boxes of each class, crowds aside, or as many as there are. More shots contain fewer."""
    chosen: set[int] = set()
    for category in content["categories"]:
        own = [
            entry["id"]
            for entry in content["annotations"]
            if entry["category_id"] == category["id"] and not entry["iscrowd"]
        ]
        order = np.random.default_rng([seed, category["id"]]).permutation(len(own))
        chosen.update(own[place] for place in order[:shots])
    return _of_these(content, [entry for entry in content["annotations"] if entry["id"] in chosen])


def _of_these(content: Content, annotations: list[Content]) -> Content:
    shown = {entry["image_id"] for entry in annotations}
    images = [image for image in content["images"] if image["id"] in shown]
    return {**content, "images": images, "annotations": annotations}


def _shapes(
    size: str,
    part: str,
    root: Path,
    name: str = "",
    change: Callable[[Content], Content] | None = None,
) -> Dataset:
    """One of the generated ones; `change` makes a draw of it."""
    base = shapes.describe(size, "val" if part == "test" else "train")
    name = name or f"shapes_fewshot_{size}_{part}"
    if part == "base":
        change = partial(base_only, novel=NOVEL_SHAPES)
    marked = f"{base.fingerprint}-{name.split('_', 3)[-1]}"

    def source() -> Source:
        whole = base.source(root)
        return whole if change is None else whole._replace(annotations=change(whole.annotations))

    return Dataset(
        name=name,
        fingerprint=lambda: base.fingerprint if part == "test" else f"{marked}-novel-{'-'.join(NOVEL_SHAPES)}",
        source=source,
        file=(lambda: base.generate(root) / "instances.json") if change is None else None,
        classes=base.classes,
        categories=partial(numbered, base.classes),
    )


def _coco(part: str, root: Path) -> Dataset:
    name, file = f"coco_fewshot_{part}", root / FOLDER / FILES[part]

    def source() -> Source:
        prepared.require(root, "fewshot", name, HOME)
        whole = _located(coco.read_file(file, root / "coco", name))
        if part != "base":
            return whole
        return whole._replace(annotations=base_only(whole.annotations, NOVEL))

    return Dataset(
        name=name,
        fingerprint=lambda: prepared.fingerprint(root, "fewshot", name) or _published(part),
        source=source,
        file=partial(coco.found, file, name) if part != "base" else None,
        categories=coco.categories,
        expected=(5_000, -1) if part == "test" else None,
        known=coco.has_empty_boxes,
        looked_for=(file, image_folders(root)[0]),
        actual=lambda: _content(root, part),
        stored=partial(prepared.content, root, "fewshot", name),
    )


def _coco_draw(name: str, shots: int, seed: int, root: Path) -> Dataset:
    if shots not in SHOTS or seed not in SEEDS:
        raise DataError(f"{name}: TFA published draws of {', '.join(map(str, SHOTS))} shots with seeds 0 to 9")
    pool = _coco("train", root)
    files = shot_files(root / FOLDER, shots, seed)
    return Dataset(
        name=name,
        fingerprint=lambda: f"{pool.fingerprint()}-{shots}shot-seed{seed}",
        source=lambda: _located(Source(read_shots(files, shots, name), root / "coco", files[0].parent)),
        categories=coco.categories,
        known=coco.has_empty_boxes,
        looked_for=(files[0], image_folders(root)[0]),
    )


def _published(part: str) -> str:
    return f"coco-2014-tfa-{part}"


def shot_files(folder: Path, shots: int, seed: int) -> list[Path]:
    """One file a class, as TFA lays them out: those of seed 0 without a folder of their own."""
    place = folder if seed == 0 else folder / f"seed{seed}"
    return [place / f"full_box_{shots}shot_{category['name']}_trainval.json" for category in coco.categories()]


def read_shots(files: list[Path], shots: int, name: str) -> Content:
    """All boxes of a draw, and each of their images once.

    Raises:
        DataError: Files are missing, or a class has not `shots` boxes; all are named, up to 20.
    """
    missing = [f"{file} does not exist" for file in files if not file.exists()]
    collect([*missing[:20], *([f"… and {len(missing) - 20} more"] if len(missing) > 20 else [])], name, DataError)
    images: dict[int, Content] = {}
    annotations: list[Content] = []
    faults = []
    for file in files:
        content = coco.read_file(file, file.parent, name).annotations
        images.update({image["id"]: image for image in content["images"]})
        annotations += content["annotations"]
        if len(content["annotations"]) != shots:
            faults.append(f"{file} has {len(content['annotations'])} boxes, not {shots}")
    collect(faults[:20], name, DataError)
    ordered = [images[key] for key in sorted(images)]
    return {"images": ordered, "annotations": annotations, "categories": coco.categories()}


def image_folders(root: Path) -> list[Path]:
    """Folders that hold the images: both years' splits in one, as TFA has it, or each in its own, as COCO has it."""
    together = root / "coco" / "trainval2014"
    return [together] if together.is_dir() else [root / "coco" / f"{part}2014" for part in ("train", "val")]


def _located(source: Source) -> Source:
    """The source with file names that lead from its folder to each image (`train2014/COCO_train2014_….jpg`)."""
    together = (source.images / "trainval2014").is_dir()

    def place(name: str) -> str:
        base = Path(name).name
        return f"{'trainval2014' if together else base.split('_')[1]}/{base}"

    try:
        images = [{**image, "file_name": place(image["file_name"])} for image in source.annotations["images"]]
    except (KeyError, IndexError) as error:
        raise DataError(f"{source.file} has images that are not called COCO_<split>2014_<number>.jpg") from error
    return source._replace(annotations={**source.annotations, "images": images})


def _content(root: Path, part: str) -> str:
    """Hash of the files that a part is read from; of the pool, with those of all draws."""
    folder = root / FOLDER
    files = [folder / FILES[part]]
    if part == "train":
        files += [file for shots, seed in _draws(folder) for file in shot_files(folder, shots, seed)]
    return hashlib.sha256("".join(digest(file) for file in files).encode()).hexdigest()[:16]


def _draws(folder: Path) -> Iterator[tuple[int, int]]:
    """(shots, seed) of the draws that are there whole."""
    for shots in SHOTS:
        for seed in SEEDS:
            if all(file.exists() for file in shot_files(folder, shots, seed)):
                yield shots, seed


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Make TFA's split and COCO 2014's images known under `root`.

    Raises:
        DataError: `source` lacks them; or no draw of seed 0 is whole.
    """
    from repro.data.adopt import adopt

    if source is None:
        raise DataError(
            "say where the split is: repro data prepare fewshot --from DIR. It holds cocosplit/ and, unless they are "
            f"under the folder of data sets already, coco/train2014 and coco/val2014, from {HOME}"
        )
    done = adopt(source, root, [FOLDER], copy)
    lacking = [folder.name for folder in image_folders(root) if not folder.is_dir()]
    if lacking:
        done += adopt(source / "coco", root / "coco", lacking, copy)
    folder = root / FOLDER
    absent = [f"{folder / file} does not exist" for file in sorted(set(FILES.values())) if not (folder / file).exists()]
    collect(absent, f"TFA's split, from {HOME}", DataError)
    draws = list(_draws(folder))
    if not any(seed == 0 for _, seed in draws):
        missing = [file for file in shot_files(folder, 10, 0) if not file.exists()]
        raise DataError(
            f"{folder} has no draw of seed 0 with all 80 classes: of 10 shots {len(missing)} files are missing, "
            f"such as {missing[0].name}. They come from {HOME}"
        )
    counts = {}
    for number, part in enumerate(("train", "test")):
        progress("files", number, 2)
        counts[part] = len(json.loads((folder / FILES[part]).read_bytes())["images"])
    genuine = counts["train"] > 100_000 and counts["test"] == 5_000
    marks = {
        f"coco_fewshot_{part}": prepared.mark(
            f"coco-fewshot-{part}", _published(part), _content(root, part), genuine=genuine
        )
        for part in FILES
    }
    seeds = sorted({seed for _, seed in draws})
    told = f"{counts['train']:,} images to train on, {counts['test']:,} to test on; draws of seeds {seeds}"
    return [*done, told, prepared.write(root, "fewshot", marks)]
