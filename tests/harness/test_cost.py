"""A cost is a range with its basis; where nobody measured, printed or counted, it is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from repro.harness import cost as costs
from repro.harness import plan as planning
from repro.harness.cost import CPU, GPU, Cost, Item, cost
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


def test_numbers_of_images_are_compared_with_each_other_and_not_with_shares(bench: Any) -> None:
    drawn = TABLE.replace("data.percent: 100", "data.percent: 100, data.images: 64")
    toy = declared(bench, drawn)
    toy.write(stages(toy, "finetune")[0].signature, seconds=3600.0)
    more = stages(declared(bench, drawn.replace("images: 64", "images: 256")), "finetune")[0]
    assert cost(more, bench.records).low == pytest.approx(4)
    assert cost(stages(declared(bench, TABLE), "finetune")[0], bench.records).basis == "unknown"


def test_steps_are_compared_with_steps_whatever_the_epochs(bench: Any) -> None:
    toy = declared(bench, TABLE.replace("iterations: null", "iterations: 100"))
    toy.write(stages(toy, "finetune")[0].signature, seconds=60.0)
    text = TABLE.replace("iterations: null", "iterations: 300").replace("epochs: 10", "epochs: 99")
    found = cost(stages(declared(bench, text), "finetune")[0], bench.records)
    assert found.low == pytest.approx(180 / 3600)


OF = "cost: {gpu_hours: [30, 60], of: {epochs: 50, images: 1000}, images: 500, source: the README}"
SCALED = TABLE.replace("data.percent: 100}", f"data.percent: 100, {OF}}}")


def test_a_quote_of_another_run_is_scaled_by_the_images_seen_and_shows_how(bench: Any) -> None:
    # 10 epochs × 500 images are a tenth of 50 × 1000
    found = cost(stages(declared(bench, SCALED), "finetune")[0], bench.records)
    formula = "30 to 60 × (10 epochs × 500 images) ÷ (50 epochs × 1,000 images)"
    assert found == Cost("scaled", 3, 6, GPU, "the README", formula)


@pytest.mark.parametrize(
    ("old", "new", "low"),
    [
        ("train.epochs: 10", "train.epochs: 20", 6),
        ("data.percent: 100", "data.percent: 10", 0.3),
        (", images: 500", "", 6),  # the same images as there
        ("data.percent: 100", "data.percent: 100, data.images: 50", 0.3),  # 50 of the 500
        ("train.iterations: null", "train.iterations: 5", None),  # steps, of which the quote says nothing
    ],
)
def test_what_a_scaled_quote_depends_on(bench: Any, old: str, new: str, low: float | None) -> None:
    assert old in SCALED
    found = cost(stages(declared(bench, SCALED.replace(old, new)), "finetune")[0], bench.records)
    assert found.low == (None if low is None else pytest.approx(low))
    assert found.basis == ("unknown" if low is None else "scaled")


def test_a_quote_of_a_run_of_this_length_is_taken_as_it_is(bench: Any) -> None:
    text = SCALED.replace("of: {epochs: 50, images: 1000}, images: 500", "of: {epochs: 10, images: 500}")
    assert cost(stages(declared(bench, text), "finetune")[0], bench.records) == Cost("paper", 30, 60, GPU, "the README")


@pytest.mark.parametrize(("on", "unit"), [("", GPU), (", on: CPU", CPU)])
def test_images_over_a_quoted_speed(bench: Any, on: str, unit: str) -> None:
    speed = f"cost: {{images_per_second: [0.5, 1], images: 3600{on}, source: the log}}"
    text = TABLE.replace("data.percent: 100}", f"data.percent: 100, {speed}}}")
    found = cost(stages(declared(bench, text), "finetune")[0], bench.records)
    assert found == Cost("scaled", 1, 2, unit, "the log", "3,600 images at 0.5 to 1 a second")


def test_a_bill_has_a_line_for_each_kind_and_reason(bench: Any) -> None:
    toy = declared(bench, SCALED)
    found = costs.bill(toy.plan.stages.values(), toy.records)
    assert [(one.kind, one.stages, one.low, one.high) for one in found] == [
        ("encoder", 1, 10, 20),
        ("finetune", 3, 9, 18),
        ("evaluate", 3, 6, 12),
    ]
    toy.write(stages(toy, "finetune")[0].signature, seconds=3600.0, hardware=EIGHT)  # now all three are measured
    assert [one.each.basis for one in costs.bill(toy.plan.stages.values(), toy.records)] == [
        "paper",
        "measured",
        "computed",
    ]


def test_totals_keep_units_apart_and_leave_out_what_is_unknown() -> None:
    found = costs.total(
        [
            Item("pretrain", Cost("measured", 1, 2), 1),
            Item("finetune", Cost("measured", 3, 4), 2),
            Item("propose", Cost("measured", 5, 6, CPU), 1),
            Item("finetune", Cost("paper", 7, 8), 1),
            Item("evaluate", Cost("unknown"), 9),
        ]
    )
    assert {unit: (one.low, one.high) for unit, one in found.items()} == {GPU: (14, 18), CPU: (5, 6)}
    kinds, bases = (found[GPU].by(key) for key in ("kind", "basis"))
    assert {kind: (one.low, one.high) for kind, one in kinds.items()} == {"pretrain": (1, 2), "finetune": (13, 16)}
    assert {basis: (one.low, one.high) for basis, one in bases.items()} == {"measured": (7, 10), "paper": (7, 8)}
