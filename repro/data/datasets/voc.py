"""PASCAL VOC 2007 and 2012 under Detectron2's names, their union, and any other data set in VOC layout.

Named sets lie where Detectron2 looks for them (`$DETECTRON2_DATASETS/VOC2007`). `voc_0712_trainval` is what papers call
trainval07+12: 5,011 and 11,540 images. `voc:<folder>:<split>` names any other; `$VARIABLES` and `~` in it are expanded
when it is opened. How boxes are read: `repro.data.voc_layout`. Objects marked difficult are trained on, as in DETReg's
code, and left out by the metric `voc`.

A named set with the published number of images is called by the checksum of the archive that it comes from.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from repro.data import prepared
from repro.data.dataset import Dataset, Progress, Source, datasets_root, quiet
from repro.data.datasets.coco import expand, found
from repro.data.records import numbered
from repro.data.voc_layout import class_names, content_hash, read_voc, stems
from repro.errors import DataError

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
COUNTS = {
    ("2007", "trainval"): 5_011,
    ("2007", "test"): 4_952,
    ("2012", "trainval"): 11_540,
    ("2007", "train"): 2_501,
    ("2007", "val"): 2_510,
    ("2012", "train"): 5_717,
    ("2012", "val"): 5_823,
}
MD5 = {  # of the archives as published: VOCtrainval_06-Nov-2007, VOCtest_06-Nov-2007, VOCtrainval_11-May-2012
    ("2007", "trainval"): "c52e279531787c972589f7e41ab4ae64",
    ("2007", "test"): "b6e924de25625d8de591ea690078ad9f",
    ("2012", "trainval"): "6cd6e144f989b92b3379bac3b3de84fd",
}
HOME = "host.robots.ox.ac.uk/pascal/VOC (VOCtrainval_06-Nov-2007, VOCtest_06-Nov-2007, VOCtrainval_11-May-2012)"
JOINT = "voc_0712_trainval"
PARTS = (("2007", "trainval"), ("2012", "trainval"))
SECOND_ID = 1_000_000  # is added to the ids of the second part
PREFIX = "voc:"


def register(root: Path | None) -> list[Dataset]:
    """Describe `voc_<year>_<split>` and their union."""
    where = datasets_root(root)
    return [*(_named(year, split, where) for year, split in COUNTS), _joint(where)]


def _named(year: str, split: str, root: Path) -> Dataset:
    name, folder = f"voc_{year}_{split}", root / f"VOC{year}"
    return Dataset(
        name=name,
        fingerprint=partial(_fingerprint, year, split, root),
        source=lambda: read_voc(_there(folder, name), split, CLASSES),
        classes=CLASSES,
        categories=partial(numbered, CLASSES),
        expected=(COUNTS[year, split], -1),
        looked_for=(folder / "Annotations", folder / "JPEGImages", _list(folder, split)),
        actual=lambda: content_hash(_there(folder, name), split),
        stored=partial(prepared.content, root, "voc", name),
    )


def _list(folder: Path, split: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{split}.txt"


def _there(folder: Path, name: str) -> Path:
    if not folder.exists():
        hint = f"get it from {HOME}, then set DETECTRON2_DATASETS or run `repro data prepare voc --from VOCdevkit`"
        raise DataError(f"{name}: not found; looked for {folder} ({hint})")
    return folder


def _published(year: str, split: str) -> str:
    archive = MD5[year, "test" if split == "test" else "trainval"]
    return f"voc-{year}-{split}-{archive[:12]}"


def _fingerprint(year: str, split: str, root: Path) -> str:
    """What `prepare` stored; else the published name, unless another number of images is there."""
    name, folder = f"voc_{year}_{split}", root / f"VOC{year}"
    known = prepared.fingerprint(root, "voc", name)
    if known is not None:
        return known
    if not _list(folder, split).exists() or len(stems(folder, split)) == COUNTS[year, split]:
        return _published(year, split)
    return f"voc-{content_hash(folder, split)}"


def _joint(root: Path) -> Dataset:
    parts = [_named(year, split, root) for year, split in PARTS]
    return Dataset(
        name=JOINT,
        fingerprint=lambda: "+".join(part.fingerprint() for part in parts),
        source=partial(_read_joint, root),
        classes=CLASSES,
        categories=partial(numbered, CLASSES),
        expected=(sum(COUNTS[part] for part in PARTS), -1),
        looked_for=tuple(path for part in parts for path in part.looked_for),
        actual=lambda: "+".join(part.actual() for part in parts if part.actual),
        stored=partial(_joint_content, root),
    )


def _joint_content(root: Path) -> str | None:
    found = [prepared.content(root, "voc", f"voc_{year}_{split}") for year, split in PARTS]
    return "+".join(found) if all(found) else None


def _read_joint(root: Path) -> Source:
    """Both parts, with ids that do not meet and file names relative to `root`."""
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": numbered(CLASSES)}
    faults = []
    for position, (year, split) in enumerate(PARTS):
        name, folder = f"voc_{year}_{split}", root / f"VOC{year}"
        part = read_voc(_there(folder, name), split, CLASSES)
        offset, known = position * SECOND_ID, len(content["annotations"])
        for image in part.annotations["images"]:
            file = f"{folder.name}/JPEGImages/{image['file_name']}"
            content["images"].append({**image, "id": image["id"] + offset, "file_name": file})
        for entry in part.annotations["annotations"]:
            ids = {"id": entry["id"] + known, "image_id": entry["image_id"] + offset}
            content["annotations"].append({**entry, **ids})
        faults += part.faults
    return Source(content, root, root, tuple(faults))


def voc_dataset(name: str, folder: Path, split: str) -> Dataset:
    """Describe one split of any folder in VOC layout."""
    return Dataset(
        name=name,
        fingerprint=lambda: f"voc-{content_hash(found(folder, name), split)}",
        source=lambda: read_voc(found(folder, name), split),
        categories=lambda: numbered(class_names(found(folder, name))),
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


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Make `VOC2007` and `VOC2012` in `source` (VOCdevkit) known under `root`, and store their fingerprints.

    Raises:
        DataError: `source` holds neither, or no split of them is complete.
    """
    from repro.data.adopt import adopt

    if source is None:
        raise DataError(
            f"say where VOCdevkit is: repro data prepare voc --from DIR. It holds VOC2007, VOC2012 or both, from {HOME}"
        )
    names = [name for name in ("VOC2007", "VOC2012") if (source / name).exists()]
    if not names:
        raise DataError(f"neither {source / 'VOC2007'} nor {source / 'VOC2012'} exists. They come from {HOME}")
    done = adopt(source, root, names, copy)
    here = [(year, split) for year, split in COUNTS if _list(root / f"VOC{year}", split).exists()]
    marks = {}
    for number, (year, split) in enumerate(here):
        progress("splits", number, len(here))
        folder = root / f"VOC{year}"
        genuine = len(stems(folder, split)) == COUNTS[year, split]
        content = content_hash(folder, split)
        marks[f"voc_{year}_{split}"] = prepared.mark("voc", _published(year, split), content, genuine=genuine)
    return [*done, prepared.write(root, "voc", marks)]
