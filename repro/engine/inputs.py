"""The images that a stage reads, and two files beside its outputs that say which.

``images.json`` is the id list of the share or the shots that were drawn; a stage that reads the whole set has none.
``skipped.json`` lists what was left out of a faulty data set. Both become artifacts of the stage's record.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.utils import comm

from repro.data import datasets, split_files, splits
from repro.data.datasets import fewshot
from repro.data.files import write_json
from repro.errors import DataError
from repro.harness.work import Work

FILES = {"images": "images.json", "skipped": "skipped.json", "skipped_unlabelled": "skipped-unlabelled.json"}
"""Artifact to file name."""

Records = Sequence[dict[str, Any]]

log = logging.getLogger(__name__)


class Pools(NamedTuple):
    """Images of a semi-supervised training; the unlabelled ones without annotations."""

    labelled: Records
    unlabelled: Records


def share(work: Work) -> Records:
    """Images of a training: those of the data set that the recipe's ``data`` section and the stage's seed choose.

    ``percent`` takes a share of the images (100 is all). ``split`` says how it is drawn, by one of `splits.DRAWS` (the
    default is "uniform"), or names the file that lists it, see `repro.data.split_files`. A recipe may also have
    ``images``, a number of them, or ``shots``, so many boxes of each class, from a few-shot set. ``min_side`` leaves
    out smaller images (in pixels), ``drop_empty`` those without any annotation.

    Raises:
        DataError: the data set is missing or faulty, or the choice holds no image.
    """
    data = work.stage.recipe["data"]
    if data.get("shots") is not None:
        return _shots(work)
    return _usable(_chosen(work)[0], data, data.get("drop_empty", False))


def pools(work: Work) -> Pools:
    """Images of a semi-supervised training: `share`, and those that ``data.unlabelled.dataset`` names.

    That is another data set, or "rest": what the share leaves over, before anything is left out of it.

    Raises:
        DataError: as `share`; or there is no rest, or no image of one kind.
    """
    data = work.stage.recipe["data"]
    labelled, rest = _chosen(work)
    name = data["unlabelled"]["dataset"]
    unlabelled = rest if name == splits.REST else sound(work, name, FILES["skipped_unlabelled"])
    if not unlabelled:
        raise DataError(f"{data['percent']:g} percent of {data['dataset']} leave no rest (data.unlabelled.dataset)")
    bare = [{**record, "annotations": []} for record in _usable(unlabelled, data, drop_empty=False)]
    return Pools(_usable(labelled, data, data.get("drop_empty", False)), bare)


def _chosen(work: Work) -> tuple[Records, Records]:
    """The images that the recipe and the seed choose, and the others."""
    data, seed = work.stage.recipe["data"], work.stage.seed
    loaded = _read(work, data["dataset"], FILES["skipped"])
    records, count = loaded.records, data.get("images")
    if count is not None:
        ids, about = splits.number((record["image_id"] for record in records), count, seed), {"images": count}
    elif (split := data.get("split", "uniform")) in splits.DRAWS:
        if data["percent"] == 100:
            return records, []
        every = [record["image_id"] for record in records] if split == "uniform" else loaded.order
        ids = splits.DRAWS[split](every, data["percent"], seed)
        about = {"percent": data["percent"]} | ({"split": split} if "split" in data else {})
    else:
        ids = split_files.read(split, data["percent"], seed, records)
        about = {"percent": data["percent"], "split": split}
    if len(ids) < len(records):
        _save(work, ids, about)
    chosen = set(ids)
    if data["skip_bad"]:
        chosen &= {record["image_id"] for record in records}  # what was left out may have been drawn
    return splits.select(records, chosen), [record for record in records if record["image_id"] not in chosen]


def _usable(records: Records, data: Mapping[str, Any], drop_empty: bool) -> Records:
    """Without small images, and, if so wanted, without those that have no annotation."""
    least = data.get("min_side", 0)
    if not (least or drop_empty):
        return records
    kept = [
        record
        for record in records
        if min(record["height"], record["width"]) >= least and (record["annotations"] or not drop_empty)
    ]
    if not kept:
        raise DataError(f"none of the {len(records)} images has sides of {least} pixels and an annotation")
    return kept


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


def sound(work: Work, name: str | None = None, skipped: str = FILES["skipped"]) -> Records:
    """All images of the stage's data set, or of another one, but for what ``data.skip_bad`` leaves out.

    Args:
        work: the stage.
        name: of the other one.
        skipped: file that says what was left out.

    Raises:
        DataError: the data set is missing or faulty.
    """
    return _read(work, name or work.stage.recipe["data"]["dataset"], skipped).records


def _read(work: Work, name: str, skipped: str) -> datasets.Loaded:
    loaded = datasets.read(name, work.datasets_root, skip_bad=work.stage.recipe["data"]["skip_bad"])
    for line in loaded.skipped:
        log.warning("Left out of %s: %s", name, line)
    if comm.is_main_process():
        file = work.output / skipped
        if loaded.skipped:
            write_json(file, {"dataset": name, "skipped": loaded.skipped})
        else:
            file.unlink(missing_ok=True)  # an earlier attempt may have met faults that are repaired now
    return loaded


def written(output: Path) -> dict[str, Path]:
    """Artifact to path, of those of `FILES` that a stage has."""
    return {name: output / file for name, file in FILES.items() if (output / file).is_file()}
