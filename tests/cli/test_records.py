"""`repro record` and `repro gc`."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

PART = ("--rows", "better", "--columns", "1%", "--seeds", "1")


@pytest.fixture
def measured(bench: Any) -> Any:
    assert bench.run(*PART).code == 0
    return bench


def evaluation(bench: Any) -> str:
    return str(bench.call("record", "show", "toy/table1/better/1%", "--scale", "tiny", "--json").json[0]["signature"])


def test_show_by_cell_and_by_the_beginning_of_a_signature(measured: Any) -> None:
    done = measured.call("record", "show", "toy/table1/better/1%", "--scale", "tiny")
    assert "coco_box.AP 13.1" in done.out
    assert "kind evaluate, scale tiny, seed 1, origin retrained" in done.out
    signature = evaluation(measured)
    assert signature in measured.call("record", "show", signature[:9]).out


def test_show_of_what_is_not_there(measured: Any) -> None:
    assert measured.call("record", "show", "zzz").code == 2
    done = measured.call("record", "show", "toy/table1/plain/1%", "--scale", "tiny")
    assert done.code == 2
    assert "has no record at scale tiny" in done.err


def test_verify(measured: Any) -> None:
    assert "4 records" in measured.call("record", "verify").out
    path = measured.records / f"{evaluation(measured)}.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"seed": 9}))
    done = measured.call("record", "verify")
    assert done.code == 2
    assert path.name in done.err and "edited" in done.err
    assert measured.call("record", "verify", "--json").code == 2


def test_merge_from_another_machine(measured: Any) -> None:
    other = measured.root / "other"
    shutil.move(measured.results, other)
    assert "4 copied, 0 skipped" in measured.call("record", "merge", str(other)).out
    assert measured.call("record", "merge", str(other / "records"), "--json").json["skipped"] == 4
    assert measured.call("record", "merge", str(other / "nowhere")).code == 2


def test_gc_removes_what_no_plan_needs_and_never_records(measured: Any) -> None:
    cluster = ("--cluster", str(measured.cluster))
    assert "0 items" in measured.call("gc", *cluster).out
    path = measured.benchmarks / "toy" / "table1.yaml"
    path.write_text(path.read_text().replace("data.percent: 1}", "data.percent: 2}"))
    measured.call("plan", "toy/table1", "--scale", "tiny")
    before = sorted(measured.output.glob("*/log.txt"))
    foreseen = measured.call("gc", "--dry-run", "--json", *cluster).json
    assert len(foreseen["garbage"]) == 2  # the fine-tuning and the evaluation
    assert sorted(measured.output.glob("*/log.txt")) == before
    assert "removed" in measured.call("gc", *cluster).out
    assert len(list(measured.output.glob("*/log.txt"))) == len(before) - 2
    assert len(list(measured.records.iterdir())) == 4


def test_gc_without_a_plan_removes_nothing(measured: Any) -> None:
    shutil.rmtree(measured.results / "plans")
    done = measured.call("gc", "--cluster", str(measured.cluster))
    assert done.code == 2
    assert "no plan" in done.err
    assert len(list(measured.output.glob("*/log.txt"))) == 4
