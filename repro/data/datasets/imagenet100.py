"""`imagenet100_train`: about 126,000 images of 100 classes of ImageNet-1k, the IN100 of DETReg's ablations.

The paper does not list the classes. These are the 100 of the class file in the authors' repository, which are those of
CMC (Tian et al. 2020, "Contrastive Multiview Coding"), as most works on ImageNet-100 use them. For another hundred,
name a list of your own: `imagenet:<file of synsets>`.

Nothing but the class folders is needed: a prepared ImageNet-1k serves, and so does a folder that holds these 100 only
(`repro data prepare imagenet100`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from repro.data import prepared
from repro.data.dataset import Dataset, Progress, datasets_root, quiet
from repro.data.datasets import imagenet
from repro.data.image_index import Records, build

NAME, FOLDER = "imagenet100_train", "imagenet100"
HOME = imagenet.HOME
IMAGES = 126_689
LISTED = (
    "n01558993 n01692333 n01729322 n01735189 n01749939 n01773797 n01820546 n01855672 n01978455 n01980166 "
    "n01983481 n02009229 n02018207 n02085620 n02086240 n02086910 n02087046 n02089867 n02089973 n02090622 "
    "n02091831 n02093428 n02099849 n02100583 n02104029 n02105505 n02106550 n02107142 n02108089 n02109047 "
    "n02113799 n02113978 n02114855 n02116738 n02119022 n02123045 n02138441 n02172182 n02231487 n02259212 "
    "n02326432 n02396427 n02483362 n02488291 n02701002 n02788148 n02804414 n02859443 n02869837 n02877765 "
    "n02974003 n03017168 n03032252 n03062245 n03085013 n03259280 n03379051 n03424325 n03492542 n03494278 "
    "n03530642 n03584829 n03594734 n03637318 n03642806 n03764736 n03775546 n03777754 n03785016 n03787032 "
    "n03794056 n03837869 n03891251 n03903868 n03930630 n03947888 n04026417 n04067472 n04099969 n04111531 "
    "n04127249 n04136333 n04229816 n04238763 n04336792 n04418357 n04429376 n04435653 n04485082 n04493381 "
    "n04517823 n04589890 n04592741 n07714571 n07715103 n07753275 n07831146 n07836838 n13037406 n13040303 "
)
SYNSETS = tuple(LISTED.split())
"""Sorted. SHA-256, a newline after each: 5ee5db69d488bb799a286d8e181801c3d02798776c1ce9203e5450f64e086e07."""


def register(root: Path | None) -> list[Dataset]:
    """Describe `imagenet100_train`."""
    where = datasets_root(root)
    return [imagenet.indexed(NAME, "imagenet100", where, _records, _published(), IMAGES)]


def _published() -> str:
    listed = hashlib.sha256("".join(f"{synset}\n" for synset in SYNSETS).encode()).hexdigest()
    return f"imagenet100-train-{imagenet.MD5[:12]}-{listed[:12]}"


def _records(root: Path) -> Records:
    """From the folder of its own if there is one, else from ImageNet-1k."""
    own = (root / FOLDER / "train.index").is_dir()
    return imagenet.open_index(root, FOLDER if own else imagenet.FOLDER, SYNSETS)


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Make the 100 classes known under `root`: out of a prepared ImageNet-1k if there is one, else from `source`.

    Raises:
        DataError: `source` lacks a class, or images cannot be read.
    """
    done = []
    if source is None and prepared.fingerprint(root, "imagenet", imagenet.NAME) is not None:
        done.append(f"taken out of {root / imagenet.FOLDER / 'train'}")
    else:
        done += imagenet.adopt_train(source, root, FOLDER, copy)
        done.append(str(build(root / FOLDER / "train", SYNSETS, root / FOLDER / "train.index", progress)))
    records = _records(root)
    mark = prepared.mark("imagenet100-train", _published(), records.content(), genuine=len(records) == IMAGES)
    return [*done, f"{len(records):,} images", prepared.write(root, "imagenet100", {NAME: mark})]
