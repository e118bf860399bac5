"""Lists of labelled images in the three layouts in which they are published."""

from __future__ import annotations

import json

import pytest

from repro.data import split_files, splits
from repro.errors import DataError

RECORDS = [
    {"image_id": 7 * number, "annotations": [{"iscrowd": 0}] if number % 4 else [{"iscrowd": 1}] * (number % 8 == 0)}
    for number in range(40)
]
"""Every fourth image has nothing but a crowd, or nothing at all."""


def test_our_own_lists(tmp_path):
    splits.save(tmp_path / "a.json", [14, 7, 273], percent=5)
    assert split_files.read(str(tmp_path / "a.json"), 5, 1, RECORDS) == [7, 14, 273]


def test_files_in_cocos_layout_are_found_by_fold_and_percent(tmp_path, monkeypatch):
    for fold, ids in ((1, [28, 0]), (2, [70])):
        content = {"images": [{"id": one} for one in ids], "annotations": [], "categories": []}
        (tmp_path / f"instances_train2017.{fold}@10.json").write_text(json.dumps(content))
    monkeypatch.setenv("LISTS", str(tmp_path))
    pattern = "$LISTS/instances_train2017.{fold}@{percent}.json"
    assert split_files.read(pattern, 10, 1, RECORDS) == [0, 28]
    assert split_files.read(pattern, 10.0, 2, RECORDS) == [70]
    with pytest.raises(DataError, match=r"3@10\.json\. There are instances_train2017\.1@10\.json, inst.*2@10"):
        split_files.read(pattern, 10, 3, RECORDS)


def test_unbiased_teachers_positions_count_images_that_show_an_object(tmp_path):
    file = tmp_path / "COCO_supervision.txt"
    file.write_text(json.dumps({"1.0": {"0": [0, 2, 3], "1": [29]}, "10.0": {"0": [30]}}))
    # Images 0, 4, 8, … show none: position 0 is image 1, position 3 is image 5, and there are 30.
    assert split_files.read(str(file), 1, 0, RECORDS) == [7, 21, 35]
    assert split_files.read(str(file), 1, 1, RECORDS) == [7 * 39]
    for percent, seed, message in ((10, 0, "further than the 30"), (2, 0, "no share 2.0"), (1, 2, "no seed 2 of 1")):
        with pytest.raises(DataError, match=message):
            split_files.read(str(file), percent, seed, RECORDS)


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "cannot be read"),
        ("[1, 2]", "no list of images"),
        ('{"count": 3, "image_ids": [0, 7]}', "damaged"),
        ('{"images": [{"id": 8}, {"id": 7}]}', r"1 of 2 images are not in the data set: \['8'\]"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=message):
        split_files.read(str(tmp_path / "a.json"), 1, 1, RECORDS)


def test_patterns_hold_percent_and_fold_only(tmp_path):
    with pytest.raises(DataError, match="percent and fold only"):
        split_files.read("{seed}.json", 1, 1, RECORDS)


def test_the_fingerprint_is_that_of_all_folds(tmp_path):
    pattern = str(tmp_path / "{fold}@{percent}.json")
    with pytest.raises(DataError, match="no file of 1 percent"):
        split_files.fingerprint(pattern, 1)
    for fold in (1, 2):
        splits.save(tmp_path / f"{fold}@1.json", [7 * fold])
    before = split_files.fingerprint(pattern, 1)
    splits.save(tmp_path / "1@10.json", [7])
    assert split_files.fingerprint(pattern, 1) == before
    splits.save(tmp_path / "2@1.json", [7, 14])
    assert split_files.fingerprint(pattern, 1) != before
