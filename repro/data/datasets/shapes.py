"""`shapes_{smoke,tiny,small}_{train,val}`: generated images, the data behind the small scales.

Image `i` of a split depends on (`VERSION`, `SEED`, split, size, `i`) and on nothing else, so every machine holds the
same set. What is in them: `repro.data.shape_images`; how they are kept: `repro.data.generated`.

`shapes_voc_…_{train,test}` stand in for PASCAL VOC: other images, of which the small objects are marked `difficult`, as
VOC marks those that nobody has to find. `shapes_unlabelled_…` stand in for COCO's unlabeled2017: as many further images
as `…_train` has, drawn alike, of which nothing is told. `shapes_objects365_…` stand in for Objects365: other images
again, as many, with boxes only, and twice as many classes: each shape by whether it is small or large.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from repro.data.dataset import Dataset, Progress, quiet, writable_root
from repro.data.generated import Generated, Image, generate_all
from repro.data.shape_images import CLASSES, Scene, draw

VERSION = 2  # raise it when a pixel or a box changes
SEED = 20220406


@dataclass(frozen=True)
class Size:
    """Images in each split, and how they are composed."""

    train: int
    val: int
    scene: Scene


# The smaller the budget, the easier the scenes: a detector that is trained for a minute has to learn something.
EASY = Scene((96, 128), diameters=(24.0, 0.7), objects=3, clutter=(0, 3), contrast=0.2)
SIZES = {
    "smoke": Size(16, 8, EASY),
    "tiny": Size(1000, 120, EASY),
    "small": Size(3000, 400, Scene((128, 160), diameters=(18.0, 0.75), objects=4, clutter=(1, 5), contrast=0.25)),
}
SPLITS = ("train", "val")
FIRST_ID = {"train": 1, "val": 1_000_001}  # ids of the two splits never meet

VOC_SPLITS = {"train": "train", "test": "val"}  # of the stand-ins for VOC: to the split whose size they take
VOC_STREAM = 7  # keeps their random numbers apart from those of the others
UNLABELLED_STREAM = 11
UNLABELLED_FIRST_ID = 2_000_001
OBJECTS365_STREAM = 13
OBJECTS365_FIRST_ID = 3_000_001
LARGE = 0.06  # an object whose box has more of the image's area is of a class of its own
DIFFICULT = 0.06  # largest share of the image's area that a difficult object has


def register(root: Path | None) -> list[Dataset]:
    """Describe the sets; nothing is generated yet."""
    return [one.dataset(writable_root(root)) for one in _all()]


def _all() -> list[Generated]:
    plain = [describe(size, split) for size in SIZES for split in SPLITS]
    voc = [describe_voc(size, split) for size in SIZES for split in VOC_SPLITS]
    return plain + voc + [of(size) for of in (describe_unlabelled, describe_objects365) for size in SIZES]


def describe(size: str, split: str) -> Generated:
    """One of the six plain sets."""
    return Generated(
        name=f"shapes_{size}_{split}",
        family="shapes",
        fingerprint=fingerprint(size, split),
        classes=CLASSES,
        count=getattr(SIZES[size], split),
        first_id=FIRST_ID[split],
        image=partial(image, size, split),
    )


def describe_voc(size: str, split: str) -> Generated:
    """One of the six that stand in for VOC."""
    like = VOC_SPLITS[split]
    more = {"stream": VOC_STREAM, "difficult": DIFFICULT}
    return Generated(
        name=f"shapes_voc_{size}_{split}",
        family="shapes",
        fingerprint=fingerprint(size, like, more).replace(f"-{size}-{like}-", f"-voc-{size}-{split}-"),
        classes=CLASSES,
        count=getattr(SIZES[size], like),
        first_id=FIRST_ID[like],
        image=partial(voc_image, size, like),
    )


def describe_unlabelled(size: str) -> Generated:
    """One of the three without annotations."""
    mark = fingerprint(size, "train", {"stream": UNLABELLED_STREAM, "annotated": False})
    return Generated(
        name=f"shapes_unlabelled_{size}",
        family="shapes",
        fingerprint=mark.replace(f"-{size}-train-", f"-unlabelled-{size}-"),
        classes=CLASSES,
        count=SIZES[size].train,
        first_id=UNLABELLED_FIRST_ID,
        image=partial(unlabelled_image, size),
    )


def describe_objects365(size: str) -> Generated:
    """One of the three that stand in for Objects365."""
    mark = fingerprint(size, "train", {"stream": OBJECTS365_STREAM, "large": LARGE})
    return Generated(
        name=f"shapes_objects365_{size}",
        family="shapes",
        fingerprint=mark.replace(f"-{size}-train-", f"-objects365-{size}-"),
        classes=tuple(f"{extent} {name}" for extent in ("small", "large") for name in CLASSES),
        count=SIZES[size].train,
        first_id=OBJECTS365_FIRST_ID,
        image=partial(objects365_image, size),
    )


def fingerprint(size: str, split: str, more: dict[str, Any] | None = None) -> str:
    """Generator version and a hash of the parameters."""
    parameters = {"seed": SEED, "split": split, "count": getattr(SIZES[size], split), **asdict(SIZES[size].scene)}
    text = json.dumps(parameters | (more or {}), sort_keys=True)
    return f"shapes-v{VERSION}-{size}-{split}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def generate(size: str, split: str, root: Path) -> Path:
    """Folder of one of the six plain sets, made if it is not there yet."""
    return describe(size, split).generate(root)


def image(size: str, split: str, index: int) -> Image:
    """Pixels (uint8 RGB) and annotations of one image, index counting from 0."""
    return draw(np.random.default_rng(_stream(size, split, index)), SIZES[size].scene)


def voc_image(size: str, split: str, index: int) -> Image:
    """The same of a stand-in for VOC: no crowds, and small objects are difficult (`ignore` is for the evaluator)."""
    stream = np.random.default_rng([*_stream(size, split, index), VOC_STREAM])
    pixels, found = draw(stream, SIZES[size].scene)
    objects = [entry for entry in found if not entry["iscrowd"]]
    for entry in objects:
        if entry["bbox"][2] * entry["bbox"][3] <= DIFFICULT * pixels.shape[0] * pixels.shape[1]:
            entry |= {"difficult": 1, "ignore": 1}
    return pixels, objects


def unlabelled_image(size: str, index: int) -> Image:
    """The same of a set of which nothing is told."""
    stream = np.random.default_rng([*_stream(size, "train", index), UNLABELLED_STREAM])
    return draw(stream, SIZES[size].scene)[0], []


def objects365_image(size: str, index: int) -> Image:
    """The same of a stand-in for Objects365: no masks, and large objects are of the second half of the classes."""
    stream = np.random.default_rng([*_stream(size, "train", index), OBJECTS365_STREAM])
    pixels, found = draw(stream, SIZES[size].scene)
    for entry in found:
        del entry["segmentation"]
        large = entry["bbox"][2] * entry["bbox"][3] > LARGE * pixels.shape[0] * pixels.shape[1]
        entry["category_id"] += len(CLASSES) * large
    return pixels, found


def _stream(size: str, split: str, index: int) -> list[int]:
    return [VERSION, SEED, sorted(SIZES).index(size), SPLITS.index(split), index]


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Generate all sets now; there is nothing to copy, so `source` must be None."""
    return generate_all(_all(), source, root, progress)
