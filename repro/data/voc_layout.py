"""Reads any folder in PASCAL VOC layout: `Annotations/*.xml`, `ImageSets/Main/<split>.txt`, `JPEGImages/*`.

VOC counts pixels from 1 and names the first and the last pixel of a box. A box therefore covers, in the coordinates
used here (0-based, half-open), x from `xmin - 1` to `xmax`. Tools that write this layout often mean two corners
instead: a box with `xmin == xmax` is then empty, not one pixel wide, and it is reported as degenerate.

Objects marked `difficult` are kept for training (as DETReg does) and carry the flag for evaluators that leave them out.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from repro.data.dataset import Fault, Source
from repro.data.records import numbered
from repro.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


def read_voc(folder: Path, split: str, classes: tuple[str, ...] | None = None) -> Source:
    """Read one split as COCO-layout annotations. Image ids are positions in the sorted list of all annotation files.

    So ids do not depend on the split, and an image is never two different ids.

    Args:
        folder: The folder that holds `Annotations`.
        split: File in `ImageSets/Main` without `.txt`; `all` needs none and takes every annotation file.
        classes: Names in the order of category ids from 1; None takes all names in the folder, sorted.

    Raises:
        DataError: A folder or the list of the split is missing.
    """
    files = annotation_files(folder)
    names = classes if classes is not None else class_names(folder)
    category = {name: number for number, name in enumerate(names, start=1)}
    number = {file.stem: position for position, file in enumerate(files, start=1)}
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": numbered(names)}
    faults: list[Fault] = []
    for stem in stems(folder, split):
        file = folder / "Annotations" / f"{stem}.xml"
        if stem not in number:
            faults.append(Fault("malformed file", f"{folder / 'ImageSets/Main'}/{split}.txt, {stem}", f"no {file}"))
            continue
        try:
            _read_one(file, number[stem], category, content)
        except (ElementTree.ParseError, AttributeError, TypeError, ValueError) as error:
            faults.append(Fault("malformed file", str(file), f"{type(error).__name__}: {error}"))
    return Source(content, folder / "JPEGImages", folder / "ImageSets" / "Main" / f"{split}.txt", tuple(faults))


def annotation_files(folder: Path) -> list[Path]:
    """All annotation files, sorted.

    Raises:
        DataError: There is no `Annotations` folder or nothing in it.
    """
    files = sorted((folder / "Annotations").glob("*.xml"))
    if not files:
        raise DataError(f"{folder} is not in VOC layout: looked for {folder / 'Annotations'}/*.xml")
    return files


def stems(folder: Path, split: str) -> list[str]:
    """Names of a split's images, without suffix, in the order of its list.

    Raises:
        DataError: There is no such split; the message names those that exist.
    """
    if split == "all":
        return [file.stem for file in annotation_files(folder)]
    lists = folder / "ImageSets" / "Main"
    try:
        text = (lists / f"{split}.txt").read_text()
    except FileNotFoundError as error:
        known = sorted(file.stem for file in lists.glob("*.txt") if "_" not in file.stem)
        raise DataError(
            f"{lists / split}.txt does not exist. Splits there: {', '.join(known) or 'none'}, all"
        ) from error
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def class_names(folder: Path) -> tuple[str, ...]:
    """Every class named in the folder, sorted: the same for all splits."""
    names: set[str] = set()
    for file in annotation_files(folder):
        try:
            root = ElementTree.parse(file).getroot()
        except ElementTree.ParseError:
            continue  # reported where the split is read
        names.update(name.text.strip() for name in root.iterfind("object/name") if name.text)
    return tuple(sorted(names))


def _read_one(file: Path, image_id: int, category: dict[str, int], content: dict[str, Any]) -> None:
    root = ElementTree.parse(file).getroot()
    images = file.parent.parent / "JPEGImages"
    name = next((file.stem + suffix for suffix in SUFFIXES if (images / (file.stem + suffix)).exists()), None)
    size = {side: int(root.find(f"size/{side}").text) for side in ("height", "width")}
    known = len(content["annotations"])
    objects = [
        {"id": known + position} | _object(item, position, file, image_id, category)
        for position, item in enumerate(root.iterfind("object"), start=1)
    ]
    # Only now that all of it could be read: an image with half of its objects would teach that there are no others.
    content["images"].append({"id": image_id, "file_name": name or f"{file.stem}.jpg", **size})
    content["annotations"] += objects


def _object(
    item: ElementTree.Element, position: int, file: Path, image_id: int, category: dict[str, int]
) -> dict[str, Any]:
    name = item.findtext("name", "").strip()
    x0, y0, x1, y1 = (float(item.find(f"bndbox/{key}").text) for key in ("xmin", "ymin", "xmax", "ymax"))
    sound = x1 > x0 and y1 > y0
    box = [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1] if sound else [x0 - 1, y0 - 1, x1 - x0, y1 - y0]
    return {
        "image_id": image_id,
        "category_id": category.get(name, name),
        "bbox": box,
        "iscrowd": 0,
        "difficult": int(item.findtext("difficult", "0")),
        "origin": f"{file}, object {position} ({name})",
    }


def content_hash(folder: Path, split: str) -> str:
    """Hash of a split's list, its annotation files, and the names and sizes of its images: 16 hex digits."""
    state = hashlib.sha256()
    for stem in stems(folder, split):
        file = folder / "Annotations" / f"{stem}.xml"
        state.update(f"{stem}\n".encode())
        state.update(file.read_bytes() if file.exists() else b"missing")
        for suffix in SUFFIXES[:3]:
            image = folder / "JPEGImages" / (stem + suffix)
            if image.exists():
                state.update(f"{image.name} {image.stat().st_size}\n".encode())
    return state.hexdigest()[:16]
