"""`objects365_{v1,v2}_{train,val}`: photographs with boxes of 365 classes (Shao et al., ICCV 2019; objects365.org).

The second version (2020) has about three times the images of the first, which the paper describes. Both are looked for
as mmdetection lays them out, `objects365_v1` and `objects365_v2` under the folder of data sets:

    annotations/objects365_{train,val}.json         of the first version, or
    annotations/zhiyuan_objv2_{train,val}.json      of the second
    train/, val/                                    images; of the second version in `patch<N>` folders

There are no masks. A set is read whole when a stage starts: the second version's 1.7 million images take tens of
gigabytes of memory. As published, some boxes are empty or leave their image, and three images of the second version are
listed and not there; all that is left out and reported.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from repro.data import prepared
from repro.data.adopt import adopt
from repro.data.dataset import Dataset, Fault, Progress, Source, datasets_root, quiet
from repro.data.datasets.coco import found, read_file
from repro.data.files import digest
from repro.errors import DataError

HOME = "objects365.org (train and val images, and their annotations)"
FILES = {"v1": "objects365_{split}.json", "v2": "zhiyuan_objv2_{split}.json"}
IMAGES = {("v1", "train"): -1, ("v1", "val"): 30_000, ("v2", "train"): 1_742_292, ("v2", "val"): 80_000}
"""As published; -1 for what is told in thousands only."""
THOUSANDS = 608  # training images of the first version: its paper has 638 thousand in all, 30 of them for validation
SPLITS = ("train", "val")
ABSENT = (
    "patch16/objects365_v2_00908726.jpg",
    "patch6/objects365_v1_00320532.jpg",
    "patch6/objects365_v1_00320534.jpg",
)
"""Listed in the second version and not among its images (mmdetection leaves the same ones out)."""


def register(root: Path | None) -> list[Dataset]:
    """Describe both splits of both versions."""
    return [_dataset(version, split, datasets_root(root)) for version in FILES for split in SPLITS]


def _dataset(version: str, split: str, root: Path) -> Dataset:
    name, folder = f"objects365_{version}_{split}", root / f"objects365_{version}"
    file = folder / "annotations" / FILES[version].format(split=split)
    return Dataset(
        name=name,
        fingerprint=lambda: prepared.fingerprint(root, "objects365", name) or _published(version, split),
        source=partial(_source, name, file, folder / split, root),
        expected=(IMAGES[version, split], -1),
        known=is_published,
        looked_for=(file, folder / split),
        actual=lambda: digest(found(file, name)),
        stored=partial(prepared.content, root, "objects365", name),
    )


def _published(version: str, split: str) -> str:
    return f"objects365-{version}-{split}"


def _source(name: str, file: Path, images: Path, root: Path) -> Source:
    prepared.require(root, "objects365", name, HOME)
    source = read_file(file, images, name)
    for image in source.annotations["images"]:
        image["file_name"] = placed(image["file_name"])
    return source


def placed(name: str) -> str:
    """Where an image lies below the folder of its split: the second version's names begin with those of its archives.

    >>> placed("images/v2/patch16/objects365_v2_00908725.jpg")
    'patch16/objects365_v2_00908725.jpg'
    """
    return "/".join(name.split("/")[-2:]) if "/patch" in name else name.rpartition("/")[2]


def is_published(fault: Fault) -> bool:
    """Whether the published files themselves have a fault: boxes that are empty or leave the image, absent images."""
    if fault.kind == "missing image":
        return any(name in fault.what for name in ABSENT)
    return fault.kind in ("degenerate box", "out-of-frame box")


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Make one version, or its training or validation part, known under `root`, and store its fingerprints.

    Raises:
        DataError: `source` holds no annotations of either version, or the images of none of its splits.
    """
    if source is None:
        raise DataError(
            "say where Objects365 is: repro data prepare objects365 --from DIR. It holds annotations/, train/ and val/ "
            f"of one version, from {HOME}"
        )
    here = [pair for pair in IMAGES if (source / "annotations" / FILES[pair[0]].format(split=pair[1])).is_file()]
    if not here:
        names = ", ".join(pattern.format(split=split) for pattern in FILES.values() for split in SPLITS)
        raise DataError(f"{source / 'annotations'} has none of {names}. They come from {HOME}")
    versions = sorted({version for version, _ in here})
    if len(versions) > 1:
        raise DataError(f"{source} holds annotations of both versions, whose images differ: prepare one at a time")
    folder = root / f"objects365_{versions[0]}"
    done = adopt(source, folder, ["annotations", *(split for _, split in here)], copy)
    marks = {}
    for number, (version, split) in enumerate(here):
        progress("splits", number, len(here))
        name, file = f"objects365_{version}_{split}", folder / "annotations" / FILES[version].format(split=split)
        content, count = digest(file), len(read_file(file, folder / split, name).annotations["images"])
        genuine = count == IMAGES[version, split] or (
            (version, split) == ("v1", "train") and count // 1000 == THOUSANDS
        )
        marks[name] = prepared.mark(_published(version, split), _published(version, split), content, genuine=genuine)
        done.append(f"{name}: {count:,} images")
    return [*done, prepared.write(root, "objects365", marks)]
