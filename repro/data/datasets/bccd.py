"""`bccd_{train,val,trainval,test}`: 364 photographs of blood cells, a small real data set in VOC layout.

Looked for in `$REPRO_BCCD`, else in `<root>/BCCD`, where `repro data prepare bccd --from DIR` puts it. On a machine
that has neither, planning goes by the fingerprints of the published files (`PUBLISHED`), and running says what is
missing. Two of its 4,888 boxes are points (`KNOWN`): they are left out and reported, and do not stop a run.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

from repro.data.dataset import Dataset, Fault, Progress, datasets_root, quiet
from repro.data.datasets.coco import found
from repro.data.files import write_json
from repro.data.records import numbered
from repro.data.voc_layout import content_hash, read_voc
from repro.errors import DataError

CLASSES = ("Platelets", "RBC", "WBC")
COUNTS = {"train": 205, "val": 87, "trainval": 292, "test": 72}
PARTS = ["Annotations", "ImageSets", "JPEGImages"]
HOME = "github.com/Shenggan/BCCD_Dataset"
STORED = "fingerprints.json"
PUBLISHED = {
    "train": "bccd-train-a02c83843e317d9b",
    "val": "bccd-val-3fa0cafb98901754",
    "trainval": "bccd-trainval-833661f41be08ac9",
    "test": "bccd-test-4a3d5a07fd50fb2b",
}
KNOWN = ("BloodImage_00338.xml", "BloodImage_00343.xml")


def register(root: Path | None) -> list[Dataset]:
    """Describe the four splits."""
    return [_dataset(split, folder(root)) for split in COUNTS]


def folder(root: Path | None) -> Path:
    """Where BCCD is, or would be."""
    given = os.environ.get("REPRO_BCCD")
    return Path(given).expanduser() if given else datasets_root(root) / "BCCD"


def _dataset(split: str, place: Path) -> Dataset:
    name = f"bccd_{split}"
    return Dataset(
        name=name,
        fingerprint=partial(fingerprint, name, split, place),
        source=lambda: read_voc(_there(place, name), split, CLASSES),
        classes=CLASSES,
        categories=partial(numbered, CLASSES),
        expected=(COUNTS[split], -1),
        known=is_a_point,
        looked_for=(place / "Annotations", place / "JPEGImages"),
        actual=partial(content_fingerprint, name, split, place),
    )


def _there(place: Path, name: str) -> Path:
    if not place.exists():
        hint = "set REPRO_BCCD to its folder, or run `repro data prepare bccd --from DIR`"
        raise DataError(f"{name}: not found; looked for {place} ({hint})")
    return found(place, name)


def is_a_point(fault: Fault) -> bool:
    """Whether a fault is one of the two degenerate boxes that the published files have."""
    return fault.kind == "degenerate box" and any(f"{file}, " in fault.where for file in KNOWN)


def fingerprint(name: str, split: str, place: Path) -> str:
    """What `prepare` stored, else computed from the content; that of the published files where nothing is."""
    if not place.exists() and not os.environ.get("REPRO_BCCD"):
        return PUBLISHED[split]
    stored = place / STORED
    if stored.exists():
        return json.loads(stored.read_text())[split]
    return content_fingerprint(name, split, place)


def content_fingerprint(name: str, split: str, place: Path) -> str:
    """Hash of annotations, list and image sizes."""
    return f"bccd-{split}-{content_hash(_there(place, name), split)}"


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Put BCCD under `root` by links (or copies) and store the fingerprints of its splits beside them."""
    from repro.data.adopt import adopt

    if source is None:
        raise DataError("say where BCCD is: repro data prepare bccd --from DIR (it holds Annotations/, JPEGImages/)")
    place = root / "BCCD"
    done = adopt(source, place, PARTS, copy)
    stored = {split: content_fingerprint(f"bccd_{split}", split, place) for split in COUNTS}
    write_json(place / STORED, stored)
    return [*done, f"wrote {place / STORED}"]
