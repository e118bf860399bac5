"""`imagenet_train`: the 1,281,167 training images of ImageNet-1k (ILSVRC 2012), for pretraining without labels.

Images lie in `$DETECTRON2_DATASETS/imagenet/train`, one folder a class, as torchvision and timm have them. `repro data
prepare imagenet` looks through them once; from then on a stage opens an index (`repro.data.image_index`), and no
worker looks through folders. The class of an image is not used.

`imagenet:<file>` names a subset: a text file with one synset (`n01440764`) a line. `imagenet100_train`, in
`repro.data.datasets.imagenet100`, is one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from repro.data import prepared
from repro.data.dataset import Dataset, Progress, Source, datasets_root, quiet
from repro.data.datasets.coco import expand, found
from repro.data.image_index import Records, build
from repro.errors import DataError

NAME, FOLDER = "imagenet_train", "imagenet"
IMAGES, CLASSES = 1_281_167, 1_000
MD5 = "1d675b47d978889d74fa0da5fadfb00e"  # ILSVRC2012_img_train.tar as published
HOME = (
    "image-net.org (ILSVRC2012_img_train.tar, and the archive of each class in it unpacked into a folder of its name)"
)
PREFIX = "imagenet:"
SYNSET = re.compile(r"n\d{8}")


def register(root: Path | None) -> list[Dataset]:
    """Describe `imagenet_train`."""
    return [indexed(NAME, "imagenet", datasets_root(root), lambda root: open_index(root, FOLDER), _published(), IMAGES)]


def _published() -> str:
    return f"imagenet-train-{MD5[:12]}"


def open_index(root: Path, folder: str, classes: Sequence[str] | None = None) -> Records:
    """The images of some classes of a prepared folder."""
    return Records(root / folder / "train.index", root / folder / "train", classes)


def indexed(
    name: str, family: str, root: Path, records: Callable[[Path], Records], published: str, images: int
) -> Dataset:
    """Describe a set that is read from an index.

    Args:
        name: The set.
        family: Its module, for what was stored when it was prepared.
        root: Folder of data sets.
        records: Opens it.
        published: What the genuine set is called.
        images: How many it has.
    """

    def opened() -> Records:
        prepared.require(root, family, name, HOME)
        return records(root)

    return Dataset(
        name=name,
        fingerprint=lambda: prepared.fingerprint(root, family, name) or published,
        source=lambda: source(opened()),
        classes=(),
        categories=list,
        expected=(images, 0),
        looked_for=(root / f"{family}.fingerprints.json",),  # `prepare` writes it last
        actual=lambda: opened().content(),
        stored=partial(prepared.content, root, family, name),
        records=opened,
    )


def source(records: Records) -> Source:
    """All of it as COCO-layout annotations, for those who look at every image (`repro data check`)."""
    images = [
        {
            "id": record["image_id"],
            "file_name": str(Path(record["file_name"]).relative_to(records.images)),
            "height": record["height"],
            "width": record["width"],
        }
        for record in records
    ]
    return Source({"images": images, "annotations": [], "categories": []}, records.images, records.images)


def resolve(name: str, root: Path | None = None) -> Dataset | None:
    """Describe `imagenet:<file of synsets>`; None for other names."""
    if not name.startswith(PREFIX):
        return None
    where = datasets_root(root)

    def opened() -> Records:
        return open_index(where, FOLDER, read_synsets(expand(name[len(PREFIX) :]), name))

    def fingerprint() -> str:
        synsets = read_synsets(expand(name[len(PREFIX) :]), name)
        listed = hashlib.sha256("\n".join(synsets).encode()).hexdigest()[:12]
        return f"{prepared.fingerprint(where, 'imagenet', NAME) or _published()}-{listed}"

    return Dataset(
        name=name,
        fingerprint=fingerprint,
        source=lambda: source(opened()),
        classes=(),
        categories=list,
        looked_for=(where / "imagenet.fingerprints.json",),
        records=opened,
    )


def read_synsets(file: Path, name: str) -> list[str]:
    """Synsets of a list, sorted.

    Raises:
        DataError: The file is missing, or a line is no synset.
    """
    words = found(file, name).read_text().split()
    wrong = [word for word in words if not SYNSET.fullmatch(word)]
    if wrong or not words:
        raise DataError(f"{name}: {file} lists synsets, one a line, such as n01440764; it has {wrong[:3] or 'none'}")
    return sorted(set(words))


def adopt_train(source: Path | None, root: Path, folder: str, copy: bool) -> list[str]:
    """Make `source` (the folder of class folders, or one that holds it as `train`) known as `<root>/<folder>/train`.

    Raises:
        DataError: It is neither.
    """
    from repro.data.adopt import adopt

    if source is None:
        raise DataError(
            f"say where ImageNet is: repro data prepare {folder} --from DIR. "
            f"It holds train/, and that a folder a class, from {HOME}"
        )
    if not (source / "train").is_dir() and any(SYNSET.fullmatch(path.name) for path in source.iterdir()):
        if source.name != "train":
            raise DataError(f"{source} holds class folders, but is not called train: move them into {source}/train")
        source = source.parent
    return adopt(source, root / folder, ["train"], copy)


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Make ImageNet's training images known under `root`, and look through them once.

    Raises:
        DataError: `source` does not hold them, or images cannot be read: all are named, class by class.
    """
    done = adopt_train(source, root, FOLDER, copy)
    train = root / FOLDER / "train"
    classes = sorted(path.name for path in train.iterdir() if SYNSET.fullmatch(path.name))
    if not classes:
        raise DataError(f"{train} holds no class folder such as n01440764. They come from {HOME}")
    index = build(train, classes, root / FOLDER / "train.index", progress)
    records = Records(index, train)
    genuine = (len(records), len(classes)) == (IMAGES, CLASSES)
    mark = prepared.mark("imagenet-train", _published(), records.content(), genuine=genuine)
    counted = f"{index}: {len(records):,} images of {len(classes):,} classes"
    return [*done, counted, prepared.write(root, "imagenet", {NAME: mark})]
