"""Suspects of a miss: each is named when it is there, and cleared when it was looked at and is not."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from repro.errors import PlanError
from repro.harness.why import Explanation, Suspect, why

TABLE = """
paper: {title: A toy, arxiv: "0000.00000", table: 1, as_of: 2024-01-01, runs: 5, source: invented}
metric: coco_box.AP
tolerance: 0.5
seeds: [1, 2, 3, 4]
stages:
  pretrain: {config: toy/pretrain.py, seeds: [0]}
  finetune: {config: toy/finetune.py}
  evaluate: {config: toy/evaluate.py}
columns:
  1%: {finetune: {data.percent: 1}}
rows:
  Ours:
    paper: {1%: 12.0 ± 0.3}
"""


def record_all(bench: Any, scores: list[float], iterations: int = 10, **fields: Any) -> None:
    """Record every stage; trainings with their iterations, evaluations with scores in the order of the seeds."""
    evaluations = [cell.stages[-1] for cell in bench.plan.cells]
    for signature, stage in bench.plan.stages.items():
        if stage.kind == "evaluate":
            bench.write(signature, metrics={"AP": scores[evaluations.index(signature)]}, **fields)
        else:
            bench.write(signature, iterations=iterations, **fields)


def explain(bench: Any, **options: Any) -> Explanation:
    return why(bench.table, bench.plan, "ours", "1%", bench.records, **options)


def about(found: Explanation, subject: str) -> Suspect:
    return next(one for one in found.suspects if one.subject == subject)


def test_a_clean_cell_has_no_suspects(bench: Any) -> None:
    bench.declare(TABLE)
    record_all(bench, [12.0, 12.2, 11.8, 12.1])
    found = explain(bench)
    assert found.verdict == "matches"
    assert [one for one in found.suspects if one.weight == "suspect"] == []
    assert [one.subject for one in found.suspects if one.weight == "unknown"] == ["errors"]


def test_missing_parents_and_failures_come_first(bench: Any) -> None:
    bench.declare(TABLE)
    cell = bench.plan.cells[0]
    bench.record("ours", "1%", [12.0, 12.1, 12.2])
    states = {cell.stages[0]: SimpleNamespace(state="failed", reason="out of memory")}
    found = explain(bench, states=states)
    assert found.suspects[0].subject == "stages"
    assert any("pretrain" in fact and "out of memory" in fact for fact in found.suspects[0].facts)
    assert found.suspects[0].text == "6 of 9 have no record"


def test_a_small_scale_lists_what_it_changes(bench: Any) -> None:
    bench.declare(TABLE, scale="tiny")
    record_all(bench, [3.0, 3.1, 2.9], iterations=2)
    assert about(explain(bench), "recipe").weight == "unknown"
    from_recipes = about(explain(bench, resolve=bench.resolve), "recipe")
    assert from_recipes.weight == "suspect"
    assert "finetune: train.iterations is 2, stated 10" in from_recipes.facts


def test_a_shortened_schedule_is_a_suspect(bench: Any) -> None:
    bench.declare(TABLE)
    record_all(bench, [12.0, 12.2, 11.8, 12.1], iterations=7)
    schedule = about(explain(bench), "schedule")
    assert schedule.weight == "suspect"
    assert "finetune seed 1: 7 iterations, the recipe says 10" in schedule.facts


def test_resumes_and_repeats_are_suspects(bench: Any) -> None:
    bench.declare(TABLE)
    record_all(bench, [12.0, 12.2, 11.8, 12.1], attempts=3)
    first = bench.plan.cells[0].stages[-1]
    bench.write(first, metrics={"AP": 12.4})
    resumes = about(explain(bench), "resumes")
    assert resumes.weight == "suspect"
    assert any("3 attempts" in fact for fact in resumes.facts)
    assert any(f"evaluate {first}: recorded 2 times, with different metrics" in fact for fact in resumes.facts)


@pytest.mark.parametrize(
    ("scores", "weight"), [([12.0, 12.3, 11.8, 12.2], "clear"), ([10.0, 14.0, 11.0, 13.0], "suspect")]
)
def test_our_spread_is_set_against_the_printed_one(bench: Any, scores: list[float], weight: str) -> None:
    bench.declare(TABLE)
    record_all(bench, scores)
    seeds = about(explain(bench), "seeds")
    assert seeds.weight == weight
    assert "0.3 over 5 in the paper" in seeds.text


def test_a_seed_far_from_the_others_is_named(bench: Any) -> None:
    bench.declare(TABLE)
    record_all(bench, [12.0, 12.1, 12.05, 3.0])
    assert "far from the others: seed 4" in about(explain(bench), "seeds").facts


def test_dirty_trees_and_mixed_installations_are_suspects(bench: Any) -> None:
    bench.declare(TABLE)
    for number, cell in enumerate(bench.plan.cells):
        code = {"commit": f"c{number % 2}", "dirty": number == 0}
        bench.write(cell.stages[-1], metrics={"AP": 12.0}, code=code, versions={"torch": f"2.{number % 2}"})
    code = about(explain(bench), "code")
    assert code.weight == "suspect"
    assert code.facts[0].startswith("uncommitted changes: evaluate ")
    assert code.facts[1:] == ("2 commits: c0, c1", "2 versions of torch: 2.0, 2.1")


def test_tide_shares_are_listed_by_size(bench: Any) -> None:
    bench.declare(TABLE)
    for cell in bench.plan.cells:
        bench.write(cell.stages[-1], metrics={"AP": 12.0, "tide.Loc": 5.0, "tide.Cls": 9.0})
    errors = about(explain(bench), "errors")
    assert errors.text == "most is lost to Cls"
    assert errors.facts == ("Cls: 9.00", "Loc: 5.00")


def test_text_numbers_the_suspects_and_the_dictionary_is_json(bench: Any) -> None:
    bench.declare(TABLE)
    record_all(bench, [12.0, 12.2, 11.8, 12.1], iterations=7, attempts=2)
    found = explain(bench)
    lines = found.text().splitlines()
    assert lines[0] == "toy/table1/ours/1%: matches"
    assert lines[2:4] == ["suspects", "  1. schedule: what ran is not what the recipe says"]
    assert "clear" in lines and "not known" in lines
    assert json.loads(json.dumps(found.to_dict()))["suspects"][0]["subject"] == "schedule"


def test_a_cell_outside_the_plan_is_refused(bench: Any) -> None:
    bench.declare(TABLE)
    with pytest.raises(PlanError, match="not in the plan of scale paper"):
        why(bench.table, bench.plan, "ours", "5%", bench.records)
