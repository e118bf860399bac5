"""`airbus_{train,val,test}`: satellite images of ships, from the Airbus Ship Detection Challenge (Kaggle, 2018).

The challenge gives run-length coded masks; `repro data prepare airbus` turns each into a box, as DETReg does (Sec. 4),
and writes one annotation file in COCO layout for each split.

Which images: the paper takes "a 42.5K image subset, with 3K test/val splits". 42,556 of the 192,556 images show a ship,
so that is read as these, and the two splits as parts of them: 36,556, 3,000 and 3,000. Which ones was not published:
**the split is ours**. An image's place follows from the hash of its name, so it is the same on every machine. Images of
the challenge are cut from larger scenes and neighbours overlap, which no split by image can undo.
"""

from __future__ import annotations

import csv
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from repro.data import prepared
from repro.data.dataset import Dataset, Fault, Progress, Source, datasets_root, quiet
from repro.data.datasets.coco import read_file
from repro.data.files import digest, write_json
from repro.data.records import numbered
from repro.errors import DataError, collect

CLASSES = ("ship",)
FOLDER = "airbus-ship-detection"
MASKS, IMAGES = "train_ship_segmentations_v2.csv", "train_v2"
HOME = "kaggle.com/c/airbus-ship-detection (train_v2 and train_ship_segmentations_v2.csv)"
SIDE = 768  # of every image, pixels
SHIPS, SHOWING = 81_723, 42_556  # masks, and images with at least one
HELD_OUT = 3_000  # images to test on, and as many to validate on
SPLIT = 1  # version of the split: raise it when another image gets another place
SPLITS = ("train", "val", "test")
TRUNCATED = "6384c3e78.jpg"  # as published


def register(root: Path | None) -> list[Dataset]:
    """Describe the three splits."""
    return [_dataset(split, datasets_root(root)) for split in SPLITS]


def _dataset(split: str, root: Path) -> Dataset:
    name, file = f"airbus_{split}", root / FOLDER / f"{split}.json"
    images = SHOWING - 2 * HELD_OUT if split == "train" else HELD_OUT
    return Dataset(
        name=name,
        fingerprint=lambda: prepared.fingerprint(root, "airbus", name) or _published(split),
        source=partial(_source, split, root),
        file=lambda: _required(split, root),
        classes=CLASSES,
        categories=partial(numbered, CLASSES),
        expected=(images, -1),
        known=is_the_truncated_one,
        looked_for=(file, root / FOLDER / IMAGES),
        actual=lambda: digest(_required(split, root)),
        stored=partial(prepared.content, root, "airbus", name),
    )


def _published(split: str) -> str:
    return f"airbus-v2-split{SPLIT}-{split}"


def _required(split: str, root: Path) -> Path:
    prepared.require(root, "airbus", f"airbus_{split}", HOME)
    return root / FOLDER / f"{split}.json"


def _source(split: str, root: Path) -> Source:
    return read_file(_required(split, root), root / FOLDER / IMAGES, f"airbus_{split}")


def is_the_truncated_one(fault: Fault) -> bool:
    """Whether a fault is that of the one image that the challenge's archive holds in part only."""
    return fault.kind == "truncated image" and TRUNCATED in fault.what


def box_and_area(runs: str, side: int = SIDE) -> tuple[list[int], int]:
    """COCO box and area of a run-length coded mask.

    Args:
        runs: "start length start length …"; pixels count from 1, down the first column, then the next.
        side: Height and width of the image.

    Raises:
        ValueError: It is no such code, or leaves the image.
    """
    numbers = np.array(runs.split(), dtype=np.int64)
    if len(numbers) % 2 or not len(numbers):
        raise ValueError("it has not pairs of a start and a length")
    first, length = numbers[::2] - 1, numbers[1::2]
    last = first + length - 1
    if first.min() < 0 or length.min() < 1 or last.max() >= side * side:
        raise ValueError(f"a run leaves the {side}×{side} pixels of the image")
    whole = first // side != last // side  # reaches into the next column, and so over the full height
    top, bottom = np.where(whole, 0, first % side).min(), np.where(whole, side - 1, last % side).max()
    left, right = (first // side).min(), (last // side).max()
    return [int(value) for value in (left, top, right - left + 1, bottom - top + 1)], int(length.sum())


def split_of(names: list[str]) -> dict[str, list[str]]:
    """Split to names of images, ascending. 3,000 of 42,556 are held out twice, of fewer images as large a share."""
    order = sorted(names, key=lambda name: hashlib.sha256(f"{SPLIT} {name}".encode()).hexdigest())
    count = max(round(len(order) * HELD_OUT / SHOWING), 1)
    parts = {"test": order[:count], "val": order[count : 2 * count], "train": order[2 * count :]}
    return {split: sorted(part) for split, part in parts.items()}


def read_masks(file: Path, progress: Progress = quiet) -> dict[str, list[tuple[list[int], int]]]:
    """Name of an image to box and area of each ship on it; images without a ship are left out.

    Raises:
        DataError: The file is not that of the challenge: all faulty lines are named, up to 20.
    """
    ships: dict[str, list[tuple[list[int], int]]] = {}
    faults = []
    with file.open(newline="", encoding="utf-8") as stream:
        lines = csv.DictReader(stream)
        if lines.fieldnames != ["ImageId", "EncodedPixels"]:
            raise DataError(f"{file} has columns {lines.fieldnames}, not ImageId, EncodedPixels: it is not from {HOME}")
        for number, line in enumerate(lines, start=2):
            if number % 10_000 == 0:
                progress("masks", number, 231_724)
            if not line["EncodedPixels"]:
                continue
            try:
                ships.setdefault(line["ImageId"], []).append(box_and_area(line["EncodedPixels"]))
            except ValueError as error:
                faults.append(f"line {number}, {line['ImageId']}: {error}")
    collect(faults[:20], str(file), DataError)
    return ships


def to_coco(names: list[str], ships: dict[str, list[tuple[list[int], int]]]) -> dict[str, Any]:
    """Annotations of one split in COCO layout. An image's id is the number that its name is in hexadecimal."""
    annotations: list[dict[str, Any]] = []
    images = [{"id": int(Path(name).stem, 16), "file_name": name, "height": SIDE, "width": SIDE} for name in names]
    for image in images:
        for box, size in ships[str(image["file_name"])]:
            known = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": 1, "iscrowd": 0}
            annotations.append({**known, "bbox": box, "area": size})
    return {"info": {"split": SPLIT}, "images": images, "annotations": annotations, "categories": numbered(CLASSES)}


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Make boxes of the masks, split the images, and make them known under `root`.

    Raises:
        DataError: `source` lacks a file, or the masks cannot be read.
    """
    from repro.data.adopt import adopt

    if source is None:
        raise DataError(
            "say where the challenge's files are: repro data prepare airbus --from DIR. "
            f"It holds {IMAGES}/ and {MASKS}, from {HOME}"
        )
    done = adopt(source, root / FOLDER, [IMAGES, MASKS], copy)
    ships = read_masks(root / FOLDER / MASKS, progress)
    if len(ships) < 3:
        raise DataError(f"{source / MASKS} has {len(ships)} images with a ship, too few for three splits")
    genuine = len(ships) == SHOWING and sum(map(len, ships.values())) == SHIPS
    marks = {}
    for split, names in split_of(list(ships)).items():
        file = root / FOLDER / f"{split}.json"
        write_json(file, to_coco(names, ships))
        marks[f"airbus_{split}"] = prepared.mark(f"airbus-{split}", _published(split), digest(file), genuine=genuine)
        done.append(f"wrote {file}: {len(names):,} images")
    return [*done, prepared.write(root, "airbus", marks)]
