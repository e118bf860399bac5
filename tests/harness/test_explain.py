"""A stage that has to run says what distinguishes it from the nearest recorded one, and nothing that is not so."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from repro.harness import explain, library, record
from repro.harness.explain import Explanation
from repro.harness.state import StageState

TABLE = """\
metric: coco_box.AP
seeds: [1, 2]
stages:
  encoder:  {config: encoder.py, seeds: [0]}
  finetune: {config: finetune.py, train.epochs: 10}
  evaluate: {config: evaluate.py}
columns:
  1%:  {finetune: {data.percent: 1}}
  10%: {finetune: {data.percent: 10}}
rows:
  Ours: {}
"""


def record_all(bench: Any) -> None:
    for signature in bench.plan.stages:
        bench.write(signature)


def explained(bench: Any, states: dict[str, StageState] | None = None) -> dict[str, Explanation]:
    return {
        bench.plan.stages[one.signature].label: one for one in explain.explain(bench.plan, bench.records, states or {})
    }


def test_nothing_recorded_is_said_as_such(bench: Any) -> None:
    bench.declare(TABLE)
    found = explained(bench)
    assert len(found) == len(bench.plan.stages)
    assert found["finetune ours/1% seed 1"] == Explanation(
        bench.plan.cells[0].stages[1], "to run", "no finetune is recorded at scale paper"
    )


def test_a_changed_value_is_named_with_both_values(bench: Any) -> None:
    record_all(bench.declare(TABLE))
    bench.declare(TABLE.replace("train.epochs: 10", "train.epochs: 20"))
    found = explained(bench)
    one = found["finetune ours/10% seed 2"]
    assert one.differing == ("train.epochs",)
    assert one.reason.endswith("differs in train.epochs (10 there, 20 here)")
    assert "finetune ours/10% seed 2" in one.reason
    assert record.exists(one.nearest, bench.records)
    # What only stands behind a changed stage says so.
    assert found["evaluate ours/10% seed 2"].differing == ("parent finetune",)


def test_the_nearest_is_the_one_with_the_fewest_differences(bench: Any) -> None:
    record_all(bench.declare(TABLE))
    bench.declare(TABLE.replace("data.percent: 10}", "data.percent: 10, train.lr: 3}").replace("[1, 2]", "[1, 7]"))
    found = explained(bench)
    assert found["finetune ours/1% seed 7"].differing == ("seed",)
    assert found["finetune ours/10% seed 1"].differing == ("train.lr",)
    assert "train.lr (absent there, 3 here)" in found["finetune ours/10% seed 1"].reason
    assert found["finetune ours/10% seed 7"].differing == ("train.lr", "seed")


def test_parents_and_data_sets_are_named(bench: Any) -> None:
    record_all(bench.declare(TABLE))
    changed = {
        signature: dataclasses.replace(stage, datasets={"coco_2017_val": "new"}, parents={"encoder": "b" * 12})
        for signature, stage in bench.plan.stages.items()
        if stage.kind == "finetune"
    }
    bench.plan = dataclasses.replace(bench.plan, stages=changed)
    one = next(iter(explained(bench).values()))
    assert one.differing == ("data set coco_2017_val", "parent encoder")
    assert "data set coco_2017_val (ffffffff there, new here)" in one.reason


def test_long_lists_of_differences_are_cut_and_counted(bench: Any) -> None:
    record_all(bench.declare(TABLE))
    many = ", ".join(f"train.k{i}: {i}" for i in range(7))
    bench.declare(TABLE.replace("train.epochs: 10", f"train.epochs: 10, {many}"))
    one = explained(bench)["finetune ours/1% seed 1"]
    assert len(one.differing) == 7
    assert one.reason.count("here)") == explain.SHOWN
    assert one.reason.endswith("and 3 more")


def test_other_scales_are_not_near(bench: Any) -> None:
    record_all(bench.declare(TABLE, "tiny"))
    bench.declare(TABLE)
    assert {one.reason.partition(" is recorded at scale ")[2] for one in explained(bench).values()} == {"paper"}


@pytest.mark.parametrize("state", ["recorded", "available", "running", "failed", "blocked", "vanished"])
def test_a_stage_that_need_not_be_asked_keeps_its_own_reason(bench: Any, state: Any) -> None:
    record_all(bench.declare(TABLE))
    states = {signature: StageState(state, "because") for signature in bench.plan.stages}
    assert {(one.state, one.reason) for one in explained(bench, states).values()} == {(state, "because")}


def test_a_stage_to_run_is_explained_whatever_its_state_says(bench: Any) -> None:
    bench.declare(TABLE)
    states = {signature: StageState("to run", "") for signature in bench.plan.stages}
    assert {one.state for one in explained(bench, states).values()} == {"to run"}
    assert all("is recorded at scale" in one.reason for one in explained(bench, states).values())


def test_a_broken_record_hides_no_other(bench: Any) -> None:
    record_all(bench.declare(TABLE))
    (bench.records / "0123456789ab.json").write_text("{", encoding="utf-8")
    bench.declare(TABLE.replace("train.epochs: 10", "train.epochs: 20"))
    assert explained(bench)["finetune ours/1% seed 1"].differing == ("train.epochs",)


def test_a_new_record_is_seen(bench: Any) -> None:
    bench.declare(TABLE)
    assert library.load(bench.records).of("encoder") == []
    record_all(bench)
    assert [len(group.records) for group in library.load(bench.records).of("finetune")] == [2, 2]
    bench.write(next(iter(bench.plan.stages)))
    assert [len(group.records) for group in library.load(bench.records).of("encoder")] == [2]
