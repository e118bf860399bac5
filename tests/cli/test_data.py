"""`repro data`."""

from __future__ import annotations

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


@pytest.mark.skipif(BCCD is None, reason="REPRO_BCCD does not name the folder of BCCD's photographs")
def test_prepare_and_check_real_photographs(bench: Any) -> None:
    assert BCCD is not None
    done = bench.call("data", "prepare", "bccd", "--from", BCCD)
    assert done.code == 0, done.all
    found = bench.call("data", "check", "bccd_test")
    assert found.code == 0, found.all
    assert "72 images" in found.out
