"""Lists of label shares as files."""

from __future__ import annotations

import json

import pytest

from repro.data import datasets, splits
from repro.errors import DataError


def test_lists_are_what_a_stage_draws(tmp_path):
    file = tmp_path / "coco" / "annotations" / "instances_train2017.json"
    file.parent.mkdir(parents=True)
    ids = [7 * number for number in range(300)]
    file.write_text(json.dumps({"images": [{"id": one} for one in ids], "annotations": [], "categories": []}))
    told = datasets.prepare("percent", None, tmp_path)
    assert len(told) == 20
    for percent in (1, 2, 5, 10):
        for seed in (42, 46):
            written = splits.load(tmp_path / "coco" / "shares" / f"{percent}-seed{seed}.json")
            assert written == splits.percent(ids, percent, seed)
    assert datasets.prepare("percent", tmp_path / "coco", tmp_path / "other")[0].endswith("3 of 300 images")


def test_missing_annotations_are_named(tmp_path):
    with pytest.raises(DataError, match=r"instances_train2017\.json"):
        datasets.prepare("percent", None, tmp_path)
