"""PASCAL VOC 2007 and 2012 under Detectron2's names, and any other data set in VOC layout.

Named sets lie where Detectron2 looks for them (`$DETECTRON2_DATASETS/VOC2007`). `voc:<folder>:<split>` names any other;
`$VARIABLES` and `~` in it are expanded when it is opened. How boxes are read: `repro.data.voc_layout`.
"""

from __future__ import annotations

from pathlib import Path

from repro.data.dataset import Dataset, datasets_root
from repro.data.datasets.coco import expand, found
from repro.data.records import numbered
from repro.data.voc_layout import class_names, content_hash, read_voc
from repro.errors import DataError

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
COUNTS = {("2007", "trainval"): 5_011, ("2007", "test"): 4_952, ("2012", "trainval"): 11_540}
SPLITS = (*COUNTS, ("2007", "train"), ("2007", "val"), ("2012", "train"), ("2012", "val"))
PREFIX = "voc:"


def register(root: Path | None) -> list[Dataset]:
    """Describe `voc_<year>_<split>`."""
    return [
        voc_dataset(
            f"voc_{year}_{split}",
            datasets_root(root) / f"VOC{year}",
            split,
            classes=CLASSES,
            images=COUNTS.get((year, split)),
        )
        for year, split in SPLITS
    ]


def voc_dataset(
    name: str, folder: Path, split: str, classes: tuple[str, ...] | None = None, images: int | None = None
) -> Dataset:
    """Describe one split of a folder in VOC layout; `images` is the number published."""
    return Dataset(
        name=name,
        fingerprint=lambda: f"voc-{content_hash(found(folder, name), split)}",
        source=lambda: read_voc(found(folder, name), split, classes),
        classes=classes,
        categories=lambda: numbered(classes or class_names(found(folder, name))),
        expected=None if images is None else (images, -1),
        looked_for=(folder / "Annotations", folder / "JPEGImages"),
    )


def resolve(name: str, root: Path | None = None) -> Dataset | None:
    """Describe `voc:<folder>:<split>`; None for other names.

    Raises:
        DataError: The name starts with `voc:` and does not have two parts.
    """
    if not name.startswith(PREFIX):
        return None
    parts = name[len(PREFIX) :].split(":")
    if len(parts) != 2 or not all(parts):
        raise DataError(f"{name}: a VOC-layout data set is named voc:<folder>:<split> (split `all` takes everything)")
    return voc_dataset(name, expand(parts[0]), parts[1])


def prepare(source: Path | None, root: Path, copy: bool = False) -> list[str]:
    """Make `VOC2007` and `VOC2012` in `source` (VOCdevkit) known under `root`."""
    from repro.data.adopt import adopt

    if source is None:
        raise DataError("say where VOCdevkit is: repro data prepare voc --from DIR (it holds VOC2007, VOC2012 or both)")
    names = [name for name in ("VOC2007", "VOC2012") if (source.expanduser() / name).exists()]
    if not names:
        raise DataError(f"neither {source / 'VOC2007'} nor {source / 'VOC2012'} exists")
    return adopt(source, root, names, copy)
