"""A cost is a range with its basis; where nobody measured, printed or counted, it is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from repro.harness import cost as costs
from repro.harness import plan as planning
from repro.harness.cost import CPU, GPU, Cost, cost
from repro.harness.plan import Stage

TABLE = """\
metric: coco_box.AP
seeds: [1, 2, 3]
stages:
  encoder:  {config: encoder.py, seeds: [0], cost: {gpu_hours: [10, 20], source: the paper}}
  finetune: {config: finetune.py, train.epochs: 10, train.iterations: null, data.percent: 100}
  evaluate:
    config: evaluate.py
    cost: {flops: 3.6e+15, peak_flops: 1.0e+12, utilisation: [0.25, 0.5], source: counted with fvcore}
columns: {AP: }
rows: {Ours: }
"""
EIGHT = {"gpus": 8, "gpu": "V100"}


def resolve_nested(config: str, overrides: Any, scale: str) -> planning.Resolved:
    recipe: dict[str, Any] = {"config": config, "train": {}, "data": {}, "model": {"width": 1}}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        recipe[section][name] = value
    return planning.Resolved(recipe, {})


@pytest.fixture
def toy(bench: Any) -> Any:
    """A bench whose recipes have sections, as real ones."""
    return declared(bench, TABLE)


def declared(bench: Any, text: str, scale: str = "paper") -> Any:
    bench.declare(text)
    bench.plan = planning.plan(bench.table, resolve_nested, scale)
    return bench


def stages(bench: Any, kind: str) -> list[Stage]:
    return [stage for stage in bench.plan.stages.values() if stage.kind == kind]


def test_nothing_known_is_unknown(toy: Any) -> None:
    assert cost(stages(toy, "finetune")[0], toy.records) == Cost("unknown")


def test_a_quoted_cost_names_its_source(toy: Any) -> None:
    assert cost(stages(toy, "encoder")[0], toy.records) == Cost("paper", 10, 20, GPU, "the paper")


def test_operations_over_a_stated_utilisation(toy: Any) -> None:
    # 3.6e15 operations at 1e12 a second are one hour: two at half the rate, four at a quarter
    assert cost(stages(toy, "evaluate")[0], toy.records) == Cost("computed", 2, 4, GPU, "counted with fvcore")


def test_a_recipe_may_say_its_cost_itself(toy: Any) -> None:
    stage = stages(toy, "finetune")[0]
    stage.recipe["cost"] = {"gpu_hours": [1, 1], "source": "ours"}
    assert cost(stage, toy.records) == Cost("paper", 1, 1, GPU, "ours")


def test_records_of_other_seeds_are_believed_before_a_quote(toy: Any) -> None:
    first, second, third = stages(toy, "finetune")
    toy.write(first.signature, seconds=3600.0, hardware=EIGHT)
    toy.write(second.signature, seconds=5400.0, hardware=EIGHT)
    assert cost(third, toy.records) == Cost("measured", 8, 12, GPU, "2 records of this recipe")
    encoder = stages(toy, "encoder")[0]
    toy.write(encoder.signature, seconds=1800.0, hardware={"gpus": 1})
    assert cost(encoder, toy.records) == Cost("measured", 0.5, 0.5, GPU, "1 record of this recipe")


def test_hours_on_a_cpu_are_no_gpu_hours(toy: Any) -> None:
    first, second, third = stages(toy, "finetune")
    toy.write(first.signature, seconds=3600.0, hardware={"gpus": 0})
    assert cost(third, toy.records) == Cost("measured", 1, 1, CPU, "1 record of this recipe")
    toy.write(second.signature, seconds=36.0, hardware={"gpus": 1})
    assert cost(third, toy.records) == Cost("measured", 0.01, 0.01, GPU, "1 record of this recipe")


def test_imported_numbers_say_nothing_of_the_time(toy: Any) -> None:
    first = stages(toy, "finetune")[0]
    toy.write(first.signature, seconds=3600.0, origin="external")
    assert cost(first, toy.records).basis == "unknown"


@pytest.mark.parametrize(
    ("old", "new", "factor"),
    [
        ("train.epochs: 10", "train.epochs: 25", 2.5),
        ("data.percent: 100", "data.percent: 10", 0.1),
        ("train.epochs: 10", "train.epochs: 25, train.lr_drops: [20]", 2.5),
        ("train.epochs: 10", "train.epochs: 10, model.width: 2", None),
        ("train.iterations: null", "train.iterations: 500", None),  # steps and epochs cannot be compared
    ],
)
def test_another_length_costs_in_proportion_and_another_recipe_is_unknown(
    bench: Any, old: str, new: str, factor: float | None
) -> None:
    toy = declared(bench, TABLE)
    toy.write(stages(toy, "finetune")[0].signature, seconds=3600.0, hardware=EIGHT)
    assert old in TABLE
    other = stages(declared(bench, TABLE.replace(old, new)), "finetune")[0]
    found = cost(other, bench.records)
    if factor is None:
        assert found.basis == "unknown"
    else:
        assert found.basis == "measured"
        assert found.low == pytest.approx(8 * factor)
        assert found.source == "1 record of another length, in proportion"


def test_steps_are_compared_with_steps_whatever_the_epochs(bench: Any) -> None:
    toy = declared(bench, TABLE.replace("iterations: null", "iterations: 100"))
    toy.write(stages(toy, "finetune")[0].signature, seconds=60.0)
    text = TABLE.replace("iterations: null", "iterations: 300").replace("epochs: 10", "epochs: 99")
    found = cost(stages(declared(bench, text), "finetune")[0], bench.records)
    assert found.low == pytest.approx(180 / 3600)


def test_totals_keep_bases_and_units_apart() -> None:
    found = costs.total(
        [
            Cost("measured", 1, 2),
            Cost("measured", 3, 4),
            Cost("measured", 5, 6, CPU),
            Cost("paper", 7, 8),
            Cost("unknown"),
        ]
    )
    assert found == {
        ("measured", GPU): (2, 4, 6),
        ("measured", CPU): (1, 5, 6),
        ("paper", GPU): (1, 7, 8),
        ("unknown", GPU): (1, 0, 0),
    }
