"""Label shares that somebody else drew: lists of images in files, in the layouts in which they are published.

A recipe names a file, or several by one pattern (`data.split`). In it `{percent}` stands for the share, `{fold}` for
the stage's seed, and `$VARIABLES` are filled in, so that no recipe holds a machine's paths. Three layouts are known:

    an id list of ours        {"count": …, "image_ids": […]}, what `repro.data.splits.save` writes
    a file in COCO's layout   the images in it are the labelled ones: `instances_train2017.{fold}@{percent}.json` of
                              STAC, Soft Teacher and mmdetection
    Unbiased Teacher's        COCO_supervision.txt: share → seed → positions among the images that have an annotation
                              which is no crowd, by ascending id (their data set is Detectron2's, filtered)

What the files hold enters the signature of a stage by `fingerprint`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.data.datasets.coco import expand
from repro.data.files import digest
from repro.errors import DataError, did_you_mean


def read(pattern: str, percent: float, fold: int, records: Sequence[Mapping[str, Any]]) -> list[int]:
    """Ids of the images in a list, ascending.

    Args:
        pattern: The file.
        percent: The share that is asked for; a file of one share need not mention it.
        fold: The stage's seed.
        records: Dataset dictionaries of all images, sorted by id.

    Raises:
        DataError: There is no such file, it is in none of the layouts, it has not this share or fold, or it names
            images that the data set does not have.
    """
    file = path(pattern, percent, fold)
    content = _parsed(file)
    if isinstance(content, dict) and isinstance(content.get("image_ids"), list):
        ids = content["image_ids"]
        if content.get("count") != len(ids):
            raise DataError(f"{file} is damaged: it says {content.get('count')} ids and has {len(ids)}")
    elif isinstance(content, dict) and isinstance(content.get("images"), list):
        ids = [image.get("id") for image in content["images"] if isinstance(image, dict)]
    elif isinstance(content, dict) and content and all(isinstance(one, dict) for one in content.values()):
        ids = _at(_positions(content, percent, fold, file), records, file)
    else:
        raise DataError(
            f"{file} is no list of images: it has neither `image_ids`, nor `images`, nor positions by share and seed"
        )
    strangers = sorted(set(map(str, ids)) - {str(record["image_id"]) for record in records})
    if strangers:
        raise DataError(f"{file}: {len(strangers)} of {len(ids)} images are not in the data set: {strangers[:10]}")
    return sorted(set(ids))


def path(pattern: str, percent: float, fold: int) -> Path:
    """The file of a share and a fold.

    Raises:
        DataError: It does not exist; the message says which of its make do.
    """
    file = _filled(pattern, f"{percent:g}", str(fold))
    if not file.is_file():
        others = files(pattern, percent) or sorted(file.parent.glob("*"))[:5]
        there = f"There are {', '.join(one.name for one in others)}" if others else f"{file.parent} holds no file"
        raise DataError(f"data.split: not found; looked for {file}. {there}")
    return file


def files(pattern: str, percent: float) -> list[Path]:
    """The files of a share, of all folds, sorted."""
    file = _filled(pattern, f"{percent:g}", "*")
    return sorted(found for found in file.parent.glob(file.name) if found.is_file())


def fingerprint(pattern: str, percent: float) -> str:
    """Changes when a file of a share does, whatever its fold.

    Raises:
        DataError: There is none.
    """
    found = files(pattern, percent)
    if not found:
        looked_for = _filled(pattern, f"{percent:g}", "*")
        raise DataError(f"data.split: no file of {percent:g} percent; looked for {looked_for}")
    together = "".join(f"{file.name} {digest(file)}\n" for file in found)
    return f"split-{hashlib.sha256(together.encode()).hexdigest()[:16]}"


def _filled(pattern: str, percent: str, fold: str) -> Path:
    try:
        return expand(pattern.format(percent=percent, fold=fold))
    except (KeyError, IndexError, ValueError) as error:
        raise DataError(
            f"data.split: {pattern} is no file name: braces may hold percent and fold only ({error})"
        ) from error


def _parsed(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a list of images: {error}") from error


def _positions(content: Mapping[str, Mapping[str, list[int]]], percent: float, fold: int, file: Path) -> list[int]:
    share, seed = str(float(percent)), str(fold)  # "1.0", as it is written there
    if share not in content:
        raise DataError(f"{file} has no share {share}. {did_you_mean(share, content)}")
    if seed not in content[share]:
        raise DataError(f"{file} has no seed {seed} of {share} percent. {did_you_mean(seed, content[share])}")
    return content[share][seed]


def _at(positions: Sequence[int], records: Sequence[Mapping[str, Any]], file: Path) -> list[int]:
    shown = [record["image_id"] for record in records if any(not entry["iscrowd"] for entry in record["annotations"])]
    if not positions or min(positions) < 0 or max(positions) >= len(shown):
        raise DataError(f"{file} counts further than the {len(shown)} images of the data set that show an object")
    return [shown[position] for position in positions]
