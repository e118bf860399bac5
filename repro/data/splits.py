"""Label shares: which images of a training set a run may use.

DETReg's k % subsets (arXiv 2106.04550, Sec. 4.4; authors' repository since 2022-04-28): image ids in ascending order,
NumPy's default generator seeded with the run's seed, a choice of round(n · k / 100) of them without replacement. The
subset depends on nothing else, so all ranks and machines hold the same one. Of COCO train2017 that is 1,183, 2,366,
5,914 and 11,829 images for 1, 2, 5 and 10 %.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from repro.data.files import write_json
from repro.errors import DataError


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
    ids = np.sort(np.fromiter(image_ids, dtype=np.int64))
    if len(np.unique(ids)) != len(ids):
        raise DataError("image ids are not unique")
    if not 0 < percent <= 100:
        raise DataError(f"a label share lies above 0 and at most at 100 percent, not {percent:g}")
    if percent == 100:
        return ids.tolist()
    count = round(len(ids) * percent / 100)
    if count == 0:
        raise DataError(f"{percent:g} percent of {len(ids)} images is no image")
    chosen = np.random.default_rng(seed).choice(len(ids), count, replace=False)
    return ids[np.sort(chosen)].tolist()


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


def select(records: list[dict[str, Any]], image_ids: Iterable[int]) -> list[dict[str, Any]]:
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
