"""The images that a stage reads, and two files beside its outputs that say which.

``images.json`` is the id list of the label share that was drawn; a stage that reads the whole data set has none.
``skipped.json`` lists what was left out of a faulty data set. Both become artifacts of the stage's record.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from detectron2.utils import comm

from repro.data import datasets, splits
from repro.data.files import write_json
from repro.harness.work import Work

FILES = {"images": "images.json", "skipped": "skipped.json"}
"""Artifact to file name."""

log = logging.getLogger(__name__)


def share(work: Work) -> list[dict[str, Any]]:
    """Images of a training: the share of the data set that ``data.percent`` and the stage's seed choose.

    Raises:
        DataError: the data set is missing or faulty, or the share holds no image.
    """
    data, seed = work.stage.recipe["data"], work.stage.seed
    records = sound(work)
    ids = splits.percent((record["image_id"] for record in records), data["percent"], seed)
    if len(ids) < len(records) and comm.is_main_process():
        about = {"dataset": data["dataset"], "fingerprint": work.stage.datasets.get(data["dataset"])}
        splits.save(work.output / FILES["images"], ids, percent=data["percent"], seed=seed, **about)
    return splits.select(records, ids)


def sound(work: Work) -> list[dict[str, Any]]:
    """All images of the stage's data set, but for what ``data.skip_bad`` leaves out.

    Raises:
        DataError: the data set is missing or faulty.
    """
    data = work.stage.recipe["data"]
    records, skipped = datasets.read(data["dataset"], work.datasets_root, skip_bad=data["skip_bad"])
    for line in skipped:
        log.warning("Left out of %s: %s", data["dataset"], line)
    if comm.is_main_process():
        file = work.output / FILES["skipped"]
        if skipped:
            write_json(file, {"dataset": data["dataset"], "skipped": skipped})
        else:
            file.unlink(missing_ok=True)  # an earlier attempt may have met faults that are repaired now
    return records


def written(output: Path) -> dict[str, Path]:
    """Artifact to path, of those of `FILES` that a stage has."""
    return {name: output / file for name, file in FILES.items() if (output / file).is_file()}
