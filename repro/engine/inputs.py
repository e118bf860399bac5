"""The images that a stage reads, and two files beside its outputs that say which.

``images.json`` is the id list of the share or the shots that were drawn; a stage that reads the whole set has none.
``skipped.json`` lists what was left out of a faulty data set. Both become artifacts of the stage's record.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.utils import comm

from repro.data import datasets, splits
from repro.data.datasets import fewshot
from repro.data.files import write_json
from repro.harness.work import Work

FILES = {"images": "images.json", "skipped": "skipped.json"}
"""Artifact to file name."""

log = logging.getLogger(__name__)


def share(work: Work) -> Sequence[dict[str, Any]]:
    """Images of a training: those of the data set that the recipe's ``data`` section and the stage's seed choose.

    ``percent`` takes a share of the images (100 is all). A recipe may also have ``images``, a number of them, or
    ``shots``, so many boxes of each class, from a few-shot set.

    Raises:
        DataError: the data set is missing or faulty, or the choice holds no image.
    """
    data, seed = work.stage.recipe["data"], work.stage.seed
    if data.get("shots") is not None:
        return _shots(work)
    records = sound(work)
    count = data.get("images")
    if count is None and data["percent"] == 100:
        return records
    everything = (record["image_id"] for record in records)
    if count is not None:
        ids, about = splits.number(everything, count, seed), {"images": count}
    else:
        ids, about = splits.percent(everything, data["percent"], seed), {"percent": data["percent"]}
    if len(ids) < len(records):
        _save(work, ids, about)
    return splits.select(records, ids)


def _shots(work: Work) -> list[dict[str, Any]]:
    """The few boxes that the seed chooses, all of an image in one record unless the recipe says otherwise."""
    data, seed = work.stage.recipe["data"], work.stage.seed
    records = sound(work, fewshot.drawn(data["dataset"], data["shots"], seed))
    _save(work, [record["image_id"] for record in records], {"shots": data["shots"]})
    return splits.one_box_each(records) if data["one_box_a_record"] else list(records)


def _save(work: Work, ids: list[int], about: Mapping[str, Any]) -> None:
    data = work.stage.recipe["data"]
    if comm.is_main_process():
        described = {"dataset": data["dataset"], "fingerprint": work.stage.datasets.get(data["dataset"])}
        splits.save(work.output / FILES["images"], ids, **about, seed=work.stage.seed, **described)


def sound(work: Work, name: str | None = None) -> Sequence[dict[str, Any]]:
    """All images of the stage's data set, or of another one, but for what ``data.skip_bad`` leaves out.

    Raises:
        DataError: the data set is missing or faulty.
    """
    data = work.stage.recipe["data"]
    name = name or data["dataset"]
    records, skipped = datasets.read(name, work.datasets_root, skip_bad=data["skip_bad"])
    for line in skipped:
        log.warning("Left out of %s: %s", name, line)
    if comm.is_main_process():
        file = work.output / FILES["skipped"]
        if skipped:
            write_json(file, {"dataset": name, "skipped": skipped})
        else:
            file.unlink(missing_ok=True)  # an earlier attempt may have met faults that are repaired now
    return records


def written(output: Path) -> dict[str, Path]:
    """Artifact to path, of those of `FILES` that a stage has."""
    return {name: output / file for name, file in FILES.items() if (output / file).is_file()}
