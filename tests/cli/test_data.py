"""`repro data`."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

BCCD = os.environ.get("REPRO_BCCD")


def test_list_says_where_each_set_is_looked_for(bench: Any) -> None:
    content = bench.call("data", "list", "--json").json
    found = {one["name"]: one for one in content["datasets"]}
    assert content["root"] == str(bench.root / "datasets")
    assert found["coco_2017_val"]["state"] == "not here"
    assert found["coco_2017_val"]["looked_for"][0].startswith(content["root"])
    assert found["shapes_smoke_val"]["state"] == "generated when needed"
    assert "coco_2017_val" in bench.call("data", "list").out


def test_check_of_what_is_missing_names_the_path(bench: Any) -> None:
    done = bench.call("data", "check", "coco_2017_val")
    assert done.code == 1
    assert str(bench.root / "datasets" / "coco") in done.out


def test_check_without_any_set(bench: Any) -> None:
    done = bench.call("data", "check")
    assert done.code == 0
    assert "No data set is here" in done.out


def test_check_of_a_generated_set(bench: Any) -> None:
    done = bench.call("data", "check", "shapes_smoke_val")
    assert done.code == 0, done.all
    assert "shapes_smoke_val: whole" in done.out


def test_a_wrong_name_gets_the_nearest(bench: Any) -> None:
    done = bench.call("data", "check", "coco_2017_vla")
    assert done.code == 1
    assert "coco_2017_val" in done.out


def test_prepare_of_an_unknown_family(bench: Any) -> None:
    done = bench.call("data", "prepare", "bcdd")
    assert done.code == 2
    assert "bccd" in done.err


def test_the_help_of_prepare_names_every_family_and_what_it_needs(bench: Any) -> None:
    from repro.data import datasets

    told = " ".join(bench.call("data", "prepare", "--help").out.split())
    for family, module in datasets.families().items():
        if hasattr(module, "prepare"):
            assert family in told
    assert "Example: repro data prepare voc --from" in told
    assert "train_ship_segmentations_v2.csv" in told


@pytest.mark.parametrize("family", ["voc", "airbus", "imagenet", "imagenet100", "fewshot", "coco", "bccd"])
def test_prepare_without_a_folder_says_what_it_holds_and_where_it_comes_from(bench: Any, family: str) -> None:
    from repro.data import datasets

    done = bench.call("data", "prepare", family)
    assert done.code == 2
    assert f"repro data prepare {family} --from DIR" in done.err
    if family != "bccd":
        assert datasets.families()[family].HOME.split()[0] in done.err


def test_prepare_of_a_folder_that_is_not_it_names_what_was_looked_for(bench: Any) -> None:
    done = bench.call("data", "prepare", "airbus", "--from", str(bench.root))
    assert done.code == 2
    assert "train_v2 does not exist" in done.err
    assert not (bench.root / "datasets" / "airbus.fingerprints.json").exists()


def test_prepare_tells_how_far_it_is(bench: Any) -> None:
    file = bench.root / "datasets" / "coco" / "annotations" / "instances_train2017.json"
    file.parent.mkdir(parents=True)
    images = [{"id": number} for number in range(200)]
    file.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    done = bench.call("data", "prepare", "percent")
    assert done.code == 0, done.all
    assert "2 of 20 lists" in done.err and "18 of 20 lists" in done.err
    assert "10-seed46.json: 20 of 200 images" in done.out
    again = bench.call("data", "prepare", "percent", "--json").json
    assert again["family"] == "percent" and len(again["done"]) == 20


@pytest.mark.skipif(BCCD is None, reason="REPRO_BCCD does not name the folder of BCCD's photographs")
def test_prepare_and_check_real_photographs(bench: Any) -> None:
    assert BCCD is not None
    done = bench.call("data", "prepare", "bccd", "--from", BCCD)
    assert done.code == 0, done.all
    found = bench.call("data", "check", "bccd_test")
    assert found.code == 0, found.all
    assert "72 images" in found.out
