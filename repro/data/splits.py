"""Label shares: which images of a training set a run may use, and how many boxes of an image a record holds.

DETReg's k % subsets (arXiv 2106.04550, Sec. 4.4; authors' repository since 2022-04-28): image ids in ascending order,
NumPy's default generator seeded with the run's seed, a choice of round(n · k / 100) of them without replacement. The
subset depends on nothing else, so all ranks and machines hold the same one. Of COCO train2017 that is 1,183, 2,366,
5,914 and 11,829 images for 1, 2, 5 and 10 %.

Its low-data subsets (Sec. 4.2, Figure 3: up to 1,024 images "randomly sampled") are drawn in the same way, by number.
Neither their seeds nor whether smaller ones lie in larger ones was published: each is a draw of its own, as above.

STAC's folds (Sohn et al. 2020, the authors' code), on which works on semi-supervised detection report: positions in the
annotation file, in its own order, drawn by NumPy's legacy generator seeded with the fold, *with* replacement. What is
drawn twice counts once, so that 1 % of train2017 is 1,174 or 1,175 images and not 1,182.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repro.data.files import write_json
from repro.errors import DataError

REST = "rest"
"""In place of a data set's name: the images that a share leaves over, without their labels."""


def percent(image_ids: Iterable[int], percent: float, seed: int) -> list[int]:
    """Draw a share of the images.

    Args:
        image_ids: Ids of all images, in any order.
        percent: Share in percent, above 0 and at most 100. All images are taken at 100.
        seed: The run's seed.

    Returns:
        Ids in ascending order.

    Raises:
        DataError: The share is out of range or holds no image, or an id occurs twice.
    """
    _check(percent)
    ids = _ascending(image_ids)
    if percent == 100:
        return ids.tolist()
    count = round(len(ids) * percent / 100)
    if count == 0:
        raise DataError(f"{percent:g} percent of {len(ids)} images is no image")
    return _draw(ids, count, seed)


def number(image_ids: Iterable[int], count: int, seed: int) -> list[int]:
    """Draw so many images.

    Args:
        image_ids: Ids of all images, in any order.
        count: How many; at most all.
        seed: The run's seed.

    Returns:
        Ids in ascending order.

    Raises:
        DataError: There are not as many, or an id occurs twice.
    """
    ids = _ascending(image_ids)
    if not 0 < count <= len(ids):
        raise DataError(f"{count} images cannot be drawn from {len(ids)}")
    return _draw(ids, count, seed)


def stac(image_ids: Sequence[int], percent: float, fold: int) -> list[int]:
    """Draw a share of the images by STAC's protocol.

    Args:
        image_ids: Ids of all images in the order of the annotation file, on which the draw depends.
        percent: Share in percent, above 0 and at most 100. All images are taken at 100.
        fold: The seed; 1 to 5 in the published tables.

    Returns:
        Ids in ascending order: fewer than the share, since some are drawn more than once.

    Raises:
        DataError: The share is out of range or holds no image, or an id occurs twice.
    """
    _check(percent)
    ascending = _ascending(image_ids).tolist()
    if percent == 100:
        return ascending
    count = int(percent / 100 * len(ascending))
    if count == 0:
        raise DataError(f"{percent:g} percent of {len(ascending)} images is no image")
    positions = np.random.RandomState(fold).choice(len(ascending), count)
    return sorted({image_ids[position] for position in positions.tolist()})


DRAWS: dict[str, Callable[[Sequence[int], float, int], list[int]]] = {"stac": stac, "uniform": percent}
"""Ways to draw a share, by the name that a recipe's ``data.split`` gives: from ids in file order, percent and seed."""


def _check(percent: float) -> None:
    if not 0 < percent <= 100:
        raise DataError(f"a label share lies above 0 and at most at 100 percent, not {percent:g}")


def _ascending(image_ids: Iterable[int]) -> np.ndarray:
    ids = np.sort(np.fromiter(image_ids, dtype=np.int64))
    if len(np.unique(ids)) != len(ids):
        raise DataError("image ids are not unique")
    return ids


def _draw(ids: np.ndarray, count: int, seed: int) -> list[int]:
    chosen = np.random.default_rng(seed).choice(len(ids), count, replace=False)
    return ids[np.sort(chosen)].tolist()


def one_box_each(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A record for every box, in order; images without one have none."""
    return [{**record, "annotations": [entry]} for record in records for entry in record["annotations"]]


def save(path: str | Path, image_ids: list[int], **about: Any) -> None:
    """Write an id list as JSON, with what it is (`percent`, `seed`, `dataset`, `fingerprint`, …) beside it."""
    write_json(Path(path), {**about, "count": len(image_ids), "image_ids": image_ids})


def load(path: str | Path) -> list[int]:
    """Read an id list.

    Raises:
        DataError: The file is missing or is no id list.
    """
    try:
        content = json.loads(Path(path).read_text())
        ids = [int(image_id) for image_id in content["image_ids"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a list of image ids: {error}") from error
    if content.get("count") != len(ids):
        raise DataError(f"{path} is damaged: it says {content.get('count')} ids and has {len(ids)}")
    return ids


def select(records: Sequence[dict[str, Any]], image_ids: Iterable[int]) -> list[dict[str, Any]]:
    """The records with these ids, in the order of `records`.

    Raises:
        DataError: An id has no record.
    """
    wanted = set(image_ids)
    chosen = [record for record in records if record["image_id"] in wanted]
    if len(chosen) != len(wanted):
        missing = sorted(wanted - {record["image_id"] for record in chosen})
        raise DataError(f"{len(missing)} images of the list are not in the data set: {missing[:10]}")
    return chosen
