"""COCO 2017 under Detectron2's names and folders, and any other data set in COCO layout.

Named sets lie where Detectron2 looks for them (`$DETECTRON2_DATASETS/coco/annotations`, `…/coco/train2017`); their
names in Detectron2's own catalogue keep working beside this one. `coco:<instances.json>:<image folder>` names any
other set; `$VARIABLES` and `~` in it are expanded when it is opened, so that a recipe holds no machine's paths.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from repro.data.dataset import Dataset, Fault, Progress, Source, datasets_root, quiet
from repro.data.files import digest
from repro.errors import DataError

ANNOTATIONS_MD5 = "f4bbac642086de4f52a3fdda2de5fa2c"  # annotations_trainval2017.zip as published
IMAGES_MD5 = {"train": "cced6f7f71b7629ddf16f17bbcfab6b2", "val": "442b8da7639aecaf257c1dceb8ba8c80"}  # <split>2017.zip
HOME = "cocodataset.org (train2017, val2017, annotations_trainval2017)"
COUNTS = {"train": (118_287, 860_001), "val": (5_000, 36_781)}  # images, annotations
PREFIX = "coco:"


def register(root: Path | None) -> list[Dataset]:
    """Describe `coco_2017_train` and `coco_2017_val`."""
    return [_published(split, datasets_root(root)) for split in COUNTS]


def _published(split: str, root: Path) -> Dataset:
    file = root / "coco" / "annotations" / f"instances_{split}2017.json"
    images = root / "coco" / f"{split}2017"
    return Dataset(
        name=f"coco_2017_{split}",
        fingerprint=lambda: f"coco-2017-{split}-{ANNOTATIONS_MD5[:12]}-{IMAGES_MD5[split][:12]}",
        source=partial(read_file, file, images, f"coco_2017_{split}"),
        file=partial(found, file, f"coco_2017_{split}"),
        categories=categories,
        expected=COUNTS[split],
        known=has_empty_boxes,
        looked_for=(file, images),
    )


def categories() -> list[dict[str, Any]]:
    """COCO's 80 things and their ids, from Detectron2's table: the annotation file takes seconds to read."""
    from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

    return [{"id": entry["id"], "name": entry["name"]} for entry in COCO_CATEGORIES if entry["isthing"]]


def has_empty_boxes(fault: Fault) -> bool:
    """COCO as published has a few boxes of no width or height; every detector drops them."""
    return fault.kind == "degenerate box"


def resolve(name: str, root: Path | None = None) -> Dataset | None:
    """Describe `coco:<instances.json>:<image folder>`; None for other names.

    Raises:
        DataError: The name starts with `coco:` and does not have two parts.
    """
    if not name.startswith(PREFIX):
        return None
    parts = name[len(PREFIX) :].split(":")
    if len(parts) != 2 or not all(parts):
        raise DataError(f"{name}: a COCO-layout data set is named coco:<instances.json>:<image folder>")
    file, images = (expand(part) for part in parts)
    return Dataset(
        name=name,
        fingerprint=lambda: f"coco-{digest(found(file, name))}",
        source=partial(read_file, file, images, name),
        file=partial(found, file, name),
        looked_for=(file, images),
    )


def expand(path: str) -> Path:
    """Path with `~` and environment variables filled in.

    Raises:
        DataError: A variable is not set.
    """
    expanded = os.path.expandvars(path)
    if "$" in expanded:
        raise DataError(f"{path}: the environment variable in it is not set")
    return Path(expanded).expanduser()


def found(path: Path, name: str) -> Path:
    """The path itself.

    Raises:
        DataError: It does not exist; the message says what else would help.
    """
    if not path.exists():
        hint = "set DETECTRON2_DATASETS to the folder that holds it, or run `repro data prepare`"
        raise DataError(f"{name}: not found; looked for {path} ({hint})")
    return path


def read_file(file: Path, images: Path, name: str) -> Source:
    """Parse an annotation file in COCO layout.

    Raises:
        DataError: The file is missing, is not JSON, or lacks a list it must have.
    """
    try:
        content: Any = json.loads(found(file, name).read_bytes())
    except ValueError as error:
        raise DataError(f"{name}: {file} is malformed JSON: {error}") from error
    keys = ("images", "annotations", "categories")
    lacking = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if lacking:
        raise DataError(f"{name}: {file} is not in COCO layout: it has no list {', '.join(lacking)}")
    return Source(content, images, file)


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Make COCO 2017 in `source` known as `<root>/coco`, by links unless `copy`."""
    from repro.data.adopt import adopt

    if source is None:
        raise DataError(
            "say where COCO 2017 is: repro data prepare coco --from DIR. "
            f"It holds annotations/, train2017/ and val2017/, from {HOME}"
        )
    names = ["annotations", *(f"{split}2017" for split in COUNTS)]
    return adopt(source, root / "coco", names, copy)
