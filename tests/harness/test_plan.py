"""Each stage once, named by its content, parents first; the file says it all; a stale one is noticed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.errors import DataError, PlanError, RecipeError
from repro.harness import plan as planning
from repro.harness import table as tables
from repro.harness.plan import Plan, Resolved
from repro.harness.signature import signature
from repro.harness.table import Column, Paper, Row, StageSpec, Table

RELAXED = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=30
)

TABLE = """\
metric: coco_box.AP
seeds: [42, 43, 44, 45, 46]
stages:
  encoder:  {config: encoder.py, seeds: [0]}
  propose:  {config: propose.py, seeds: [0]}
  pretrain: {config: pretrain.py, seeds: [0], cost: {gpu_hours: [1, 2], source: print}}
  finetune: {config: finetune.py}
  evaluate: {config: evaluate.py}
columns:
  1%:   {finetune: {data.percent: 1}}
  10%:  {finetune: {data.percent: 10}}
  AP50: {metric: coco_box.AP50, finetune: {data.percent: 10}}
rows:
  Plain: {skip: [propose, pretrain]}
  Quoted: {cited: true, paper: {1%: 3}}
  Later: {not_runnable: no recipe, pretrain: {config: later.py}}
  Ours: {}
"""

RECIPES: dict[str, dict[str, Any]] = {
    name: {"config": name, "data": {"percent": 100, "workers": 2}, "train": {"epochs": 50, "log_period": 1}}
    for name in ("encoder.py", "propose.py", "pretrain.py", "finetune.py", "evaluate.py", "later.py")
}


class Recipes:
    """Resolves recipes from a dictionary, and counts."""

    def __init__(self, recipes: Mapping[str, dict[str, Any]] = RECIPES) -> None:
        self.recipes = copy.deepcopy(dict(recipes))
        self.datasets = {name: {"coco": "1"} for name in recipes}
        self.asked: list[tuple[str, str]] = []

    def __call__(self, config: str, overrides: Mapping[str, Any], scale: str) -> Resolved:
        self.asked.append((config, json.dumps(dict(overrides), sort_keys=True)))
        recipe = copy.deepcopy(self.recipes[config]) | {"scale": scale}
        for key, value in overrides.items():
            section, _, name = key.partition(".")
            if name not in recipe.get(section, {}):
                raise RecipeError(f"{config} has no {key}")
            recipe[section][name] = value
        return Resolved(recipe, self.datasets[config])


Declare = Callable[..., Table]


@pytest.fixture
def declare(tmp_path: Path) -> Declare:
    def declared(text: str = TABLE, name: str = "toy/table1") -> Table:
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return tables.load(name, tmp_path)

    return declared


def by_kind(plan: Plan) -> dict[str, set[str]]:
    return {kind: {s.signature for s in plan.stages.values() if s.kind == kind} for kind in tables.KINDS}


def test_a_stage_that_many_ask_for_is_there_once(declare: Declare) -> None:
    made = planning.plan(declare(), Recipes())
    counts = {kind: len(signatures) for kind, signatures in by_kind(made).items()}
    # two rows × two shares × five seeds; AP50 is measured on the stages of 10%
    expected = {"encoder": 1, "propose": 1, "pretrain": 1, "finetune": 20, "evaluate": 20}
    assert counts == dict.fromkeys(tables.KINDS, 0) | expected
    assert len(made.cells) == 2 * 3 * 5
    ap, ap50 = (next(c for c in made.cells if (c.row, c.column) == ("ours", one)) for one in ("10%", "ap50"))
    assert ap.stages == ap50.stages
    assert (ap.metric, ap50.metric) == ("coco_box.AP", "coco_box.AP50")


def test_what_is_only_built_is_its_model_and_reads_no_data(declare: Declare) -> None:
    """So a speed stays that of the model when the way in which it is trained changes."""
    text = """
metric: coco_box.AP
seeds: [0]
stages: {train: {config: finetune.py}, evaluate: {config: evaluate.py}}
columns: {ap: {}, fps: {metric: latency.fps, train: {kind: build}}}
rows: {One: {}}
"""

    def built(**settings: Any) -> planning.Stage:
        recipe = RECIPES["finetune.py"] | {"model": {"width": 8}, "run": {"threads": 1}} | settings
        made = planning.plan(declare(text), Recipes(RECIPES | {"finetune.py": recipe}))
        return next(one for one in made.stages.values() if one.kind == "build")

    first = built()
    assert first.recipe == {"model": {"width": 8}, "run": {"threads": 1}}
    assert (first.datasets, first.parents) == ({}, {})
    assert built(train={"epochs": 3}).signature == first.signature
    assert built(model={"width": 9}).signature != first.signature


def test_parents_stand_before_their_children_and_cells_end_in_their_evaluation(declare: Declare) -> None:
    made = planning.plan(declare(), Recipes())
    seen: set[str] = set()
    for name, stage in made.stages.items():
        assert name == stage.signature
        assert seen.issuperset(stage.parents.values())
        seen.add(name)
    for cell in made.cells:
        stages = [made.stages[one] for one in cell.stages]
        assert stages[-1].kind == "evaluate"
        assert stages[-1].seed == cell.seed
    ours = next(cell for cell in made.cells if cell.row == "ours")
    pretrain = made.stages[ours.stages[2]]
    assert list(pretrain.parents) == ["encoder", "propose"]
    assert pretrain.seed == 0


def test_a_stage_is_named_by_what_it_holds(declare: Declare) -> None:
    for stage in planning.plan(declare(), Recipes(), "tiny").stages.values():
        assert stage.signature == signature(stage.kind, stage.recipe, stage.seed, stage.parents, stage.datasets)
        assert stage.scale == "tiny"


def test_a_recipe_is_resolved_once_however_many_ask(declare: Declare) -> None:
    recipes = Recipes()
    planning.plan(declare(), recipes)
    assert len(recipes.asked) == len(set(recipes.asked)) == 6  # encoder, two shares, evaluate, propose, pretrain


DOWNSTREAM = {
    "encoder.py": {"encoder", "pretrain", "finetune", "evaluate"},
    "propose.py": {"propose", "pretrain", "finetune", "evaluate"},
    "pretrain.py": {"pretrain", "finetune", "evaluate"},
    "finetune.py": {"finetune", "evaluate"},
    "evaluate.py": {"evaluate"},
}


@pytest.mark.parametrize("config", DOWNSTREAM)
def test_changing_a_value_changes_exactly_what_stands_behind_it(declare: Declare, config: str) -> None:
    before = planning.plan(declare(), Recipes())
    recipes = Recipes()
    recipes.recipes[config]["train"]["epochs"] = 51
    after = planning.plan(declare(), recipes)
    for kind in DOWNSTREAM:
        kind = kind.removesuffix(".py")
        was, now = by_kind(before)[kind], by_kind(after)[kind]
        assert len(was) == len(now)
        if kind not in DOWNSTREAM[config]:
            assert was == now
        elif config in ("propose.py", "pretrain.py") and kind in ("finetune", "evaluate"):
            assert len(was & now) == 10  # the row Plain has no pretraining
        else:
            assert not was & now


def test_changing_one_column_changes_the_stages_of_that_column(declare: Declare) -> None:
    before = planning.plan(declare(), Recipes())
    after = planning.plan(declare(TABLE.replace("data.percent: 1}", "data.percent: 2}")), Recipes())
    for cell, other in zip(before.cells, after.cells, strict=True):
        assert (cell.stages == other.stages) == (cell.column != "1%")
        assert cell.stages[:-2] == other.stages[:-2]


@pytest.mark.parametrize("key", ["workers", "log_period"])
def test_what_cannot_change_a_result_changes_no_name(declare: Declare, key: str) -> None:
    before = planning.plan(declare(), Recipes())
    recipes = Recipes()
    for recipe in recipes.recipes.values():
        section = "data" if key == "workers" else "train"
        recipe[section][key] = 99
    after = planning.plan(declare(), recipes)
    assert after.cells == before.cells
    assert next(iter(after.stages.values())).recipe != next(iter(before.stages.values())).recipe


def test_another_data_set_is_another_stage(declare: Declare) -> None:
    before = planning.plan(declare(), Recipes())
    recipes = Recipes()
    recipes.datasets["evaluate.py"] = {"coco": "2"}
    after = planning.plan(declare(), recipes)
    assert by_kind(before)["finetune"] == by_kind(after)["finetune"]
    assert not by_kind(before)["evaluate"] & by_kind(after)["evaluate"]


def test_scales_share_nothing_that_resolves_differently(declare: Declare) -> None:
    paper, tiny, smoke = (planning.plan(declare(), Recipes(), scale) for scale in ("paper", "tiny", "smoke"))
    assert not paper.stages.keys() & tiny.stages.keys()
    assert {cell.seed for cell in paper.cells} == {42, 43, 44, 45, 46}
    assert {cell.seed for cell in tiny.cells} == {42, 43, 44}
    assert {cell.seed for cell in smoke.cells} == {42}


def test_two_tables_that_declare_the_same_share_their_stages(declare: Declare) -> None:
    one = planning.plan(declare(), Recipes())
    other = planning.plan(
        declare(TABLE.replace("seeds: [42, 43, 44, 45, 46]", "seeds: [42, 43]"), "b/table2"), Recipes()
    )
    assert one.stages.keys() > other.stages.keys()


def test_a_selection_is_the_part_of_the_whole(declare: Declare) -> None:
    whole = planning.plan(declare(), Recipes())
    part = planning.plan(declare(), Recipes(), rows=["Ours"], columns=["1*"], seeds=[44])
    assert [(cell.row, cell.column, cell.seed) for cell in part.cells] == [("ours", "1%", 44), ("ours", "10%", 44)]
    assert part == whole.select(["ours"], ["1%", "10%"], [44])
    assert whole.select() == whole
    assert not whole.select(rows=["quoted"]).stages


def test_a_selection_that_matches_nothing_names_the_nearest(declare: Declare) -> None:
    with pytest.raises(PlanError, match=r"toy/table1 has no row 'our'\. Did you mean ours\?"):
        planning.plan(declare(), Recipes(), rows=["our", "plain"])
    with pytest.raises(PlanError, match=r"has no column '2%'"):
        planning.plan(declare(), Recipes(), columns=["2%"])
    with pytest.raises(PlanError, match=r"no scale tinny\. Did you mean tiny"):
        planning.plan(declare(), Recipes(), "tinny")


def test_stages_with_several_seeds_of_their_own_go_by_the_cells_place(declare: Declare) -> None:
    text = TABLE.replace("pretrain: {config: pretrain.py, seeds: [0]", "pretrain: {config: pretrain.py, seeds: [7, 8]")
    whole = planning.plan(declare(text), Recipes())
    seeds = {cell.seed: whole.stages[cell.stages[2]].seed for cell in whole.cells if cell.row == "ours"}
    assert seeds == {42: 7, 43: 8, 44: 7, 45: 8, 46: 7}
    part = planning.plan(declare(text), Recipes(), seeds=[43])
    assert set(part.stages) <= set(whole.stages)


def test_all_recipes_that_fail_are_named_at_once_with_the_first_cell_that_asks(declare: Declare) -> None:
    text = TABLE.replace("data.percent: 1}", "data.procent: 1}").replace("evaluate.py}", "evaluate.py, train.x: 1}")
    with pytest.raises(PlanError) as caught:
        planning.plan(declare(text), Recipes(), "tiny")
    message = str(caught.value)
    assert "table1.yaml at scale tiny has 2 faults:" in message
    assert 'row "Plain", column "1%", finetune: finetune.py has no data.procent' in message
    assert 'row "Plain", column "1%", evaluate: evaluate.py has no train.x' in message


def test_a_cause_that_many_recipes_meet_is_said_once(declare: Declare) -> None:
    def resolve(config: str, overrides: Mapping[str, Any], scale: str) -> Resolved:
        raise DataError("the photographs are not here")

    with pytest.raises(PlanError) as caught:
        planning.plan(declare(), resolve)
    assert 'row "Plain", column "1%", encoder (and 5 more): the photographs are not here' in str(caught.value)


def test_quoted_cost_is_of_the_papers_scale_alone(declare: Declare) -> None:
    def costs(scale: str) -> list[object]:
        return [one.cost for one in planning.plan(declare(), Recipes(), scale).stages.values() if one.cost is not None]

    assert costs("paper") == [{"gpu_hours": [1, 2], "source": "print"}]
    assert costs("tiny") == []


def test_labels_say_who_shares_a_stage(declare: Declare) -> None:
    made = planning.plan(declare(), Recipes())
    labels = [stage.label for stage in made.stages.values()]
    assert "encoder encoder seed 0" in labels
    assert "pretrain ours (3 columns) seed 0" in labels
    assert "finetune plain/1% seed 42" in labels
    assert len(set(labels)) == len(labels)


def test_a_plan_survives_its_file(declare: Declare, tmp_path: Path) -> None:
    made = planning.plan(declare(), Recipes())
    path = planning.write(made, tmp_path / "plans")
    assert path.name == "toy-table1.paper.json"
    assert path == planning.path_of("toy/table1", "paper", tmp_path / "plans")
    assert planning.read("toy/table1", "paper", tmp_path / "plans") == made
    content = json.loads(path.read_text(encoding="utf-8"))
    assert len(content["recipes"]) == 6  # once each, not once a stage
    assert len(content["stages"]) == len(made.stages)


def test_the_same_input_gives_the_same_bytes(declare: Declare, tmp_path: Path) -> None:
    files = []
    for number in range(2):
        recipes = Recipes({name: RECIPES[name] for name in random.Random(number).sample(list(RECIPES), len(RECIPES))})
        files.append(planning.write(planning.plan(declare(), recipes), tmp_path / str(number)).read_bytes())
    assert files[0] == files[1]


def test_a_plan_that_is_not_there_names_the_command_and_what_is_there(declare: Declare, tmp_path: Path) -> None:
    planning.write(planning.plan(declare(), Recipes(), "tiny"), tmp_path)
    with pytest.raises(PlanError) as caught:
        planning.read("toy/table1", "paper", tmp_path)
    assert "not planned at scale paper" in str(caught.value)
    assert "There is one for scale tiny." in str(caught.value)
    assert "repro plan toy/table1 --scale paper" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not a plan"),
        ("[]", "is not a plan"),
        ('{"schema": 0}', "has schema 0"),
        ('{"schema": 1, "table": "t"}', "is damaged"),
        (
            '{"schema": 1, "table": "t", "digest": "", "scale": "paper", "recipes": {}, "cells": [],'
            ' "stages": [{"recipe": "gone"}]}',
            "is damaged",
        ),
    ],
)
def test_a_damaged_plan_is_named_with_the_command_that_repairs_it(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "toy-table1.paper.json").write_text(content, encoding="utf-8")
    with pytest.raises(PlanError, match=said) as caught:
        planning.read("toy/table1", "paper", tmp_path)
    assert "repro plan toy/table1 --scale paper" in str(caught.value)


def test_a_stale_plan_is_refused(declare: Declare) -> None:
    made = planning.plan(declare(), Recipes())
    planning.ensure_fresh(made, declare(TABLE.replace("Plain:", "Plain: ").replace("paper: {1%: 3}", "paper: {1%: 4}")))
    with pytest.raises(
        PlanError, match=r"is stale: .*table1\.yaml has changed since\. Plan it anew: repro plan toy/table1"
    ):
        planning.ensure_fresh(made, declare(TABLE.replace("data.percent: 1}", "data.percent: 3}")))


stage_names = st.lists(st.sampled_from(["encoder", "propose", "pretrain", "finetune"]), unique=True, min_size=1)


@st.composite
def random_tables(draw: st.DrawFn) -> Table:
    """Tables of any shape, with settings anywhere."""
    names = sorted(draw(stage_names), key=list(tables.KINDS).index)
    settings_of = st.dictionaries(
        st.sampled_from(names), st.fixed_dictionaries({"train.epochs": st.integers(1, 3)}), max_size=2
    )
    columns = draw(st.lists(settings_of, min_size=1, max_size=3))
    rows = draw(st.lists(st.tuples(settings_of, st.sets(st.sampled_from(names), max_size=2)), min_size=1, max_size=3))
    own = st.none() | st.just((0,)) | st.just((1, 2))
    specs = [StageSpec(name, name, f"{name}.py", seeds=draw(own)) for name in names]
    return Table(
        name="any/table1",
        path=Path("table1.yaml"),
        title="",
        paper=Paper(),
        metric="coco_box.AP",
        seeds=tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True))),
        stages=(*specs, StageSpec("evaluate", "evaluate", "evaluate.py")),
        rows=tuple(Row(f"r{i}", "", stages=own, skip=tuple(skip)) for i, (own, skip) in enumerate(rows)),
        columns=tuple(Column(f"c{i}", "", stages=own) for i, own in enumerate(columns)),
    )


@RELAXED
@given(random_tables())
def test_any_plan_is_complete_ordered_and_named_by_content(table: Table) -> None:
    made = planning.plan(table, Recipes())
    seen: set[str] = set()
    for stage in made.stages.values():
        assert stage.signature == signature(stage.kind, stage.recipe, stage.seed, stage.parents, stage.datasets)
        assert seen.issuperset(stage.parents.values())
        seen.add(stage.signature)
    assert {one for cell in made.cells for one in cell.stages} == seen
    assert len(made.cells) == len(table.rows) * len(table.columns) * len(table.seeds)
    for cell in made.cells:
        for one, spec in zip(cell.stages, table.cell_stages(cell.row, cell.column), strict=True):
            assert made.stages[one].recipe["train"]["epochs"] == spec.overrides.get("train.epochs", 50)


@RELAXED
@given(random_tables(), st.data())
def test_any_changed_setting_changes_its_stage_and_its_descendants_only(table: Table, data: st.DataObject) -> None:
    before = planning.plan(table, Recipes())
    column = data.draw(st.sampled_from(table.columns))
    name = data.draw(st.sampled_from([spec.name for spec in table.stages]))
    other_column = replace(column, stages={**column.stages, name: {"train.epochs": 77}})
    other = replace(table, columns=tuple(other_column if one is column else one for one in table.columns))
    after = planning.plan(other, Recipes())
    for was, now in zip(before.cells, after.cells, strict=True):
        specs = [spec.name for spec in table.cell_stages(was.row, was.column)]
        changed = {spec for spec, a, b in zip(specs, was.stages, now.stages, strict=True) if a != b}
        row = table.row(was.row)
        if was.column != column.id or name in row.skip or "train.epochs" in row.stages.get(name, {}):
            assert not changed
        else:
            assert changed == _descendants(name, table, was.row, was.column)


def _descendants(name: str, table: Table, row: str, column: str) -> set[str]:
    found = {name}
    for spec in table.cell_stages(row, column):
        if found & set(spec.parents):
            found.add(spec.name)
    return found


def test_ten_thousand_stages_are_planned_rightly(tmp_path: Path) -> None:
    seeds, rows, columns = 50, 10, 10
    table = Table(
        name="big/table1",
        path=Path("table1.yaml"),
        title="",
        paper=Paper(),
        metric="coco_box.AP",
        seeds=tuple(range(seeds)),
        stages=tuple(
            StageSpec(name, name, f"{name}.py", seeds=(0,) if name in ("encoder", "pretrain") else None)
            for name in ("encoder", "pretrain", "finetune", "evaluate")
        ),
        rows=tuple(Row(f"r{i}", "", stages={"pretrain": {"train.epochs": i}}) for i in range(rows)),
        columns=tuple(Column(f"c{i}", "", stages={"finetune": {"data.percent": i}}) for i in range(columns)),
    )
    recipes = Recipes()
    made = planning.plan(table, recipes)
    assert len(recipes.asked) == 1 + rows + columns + 1
    assert len(made.stages) == 1 + rows + 2 * rows * columns * seeds == 10_011
    assert len(made.cells) == rows * columns * seeds
    evaluated = {cell.stages[-1] for cell in made.cells}
    assert len(evaluated) == len(made.cells)
    planning.write(made, tmp_path)
    assert planning.read("big/table1", "paper", tmp_path) == made


LABELLED = """\
metric: coco_box.AP
seeds: [1]
stages:
  labeller: {kind: train, config: plain.py}
  labels:   {kind: label, config: label.py}
  train:    {config: mixed.py}
  evaluate: {config: evaluate.py}
columns: {AP: {}}
rows:
  Mixed: {}
"""


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("", None),
        ("  Forgot: {train: {config: plain.py}}\n", r'"Forgot".*train: it starts from labels.*let the row skip labels'),
        ("  Lacks: {skip: [labeller, labels]}\n", r'"Lacks".*train: recipe mixed\.py.*no stage of kind label comes'),
    ],
)
def test_a_training_and_the_labels_made_for_it_belong_together(declare: Declare, row: str, fault: str | None) -> None:
    plain = RECIPES["finetune.py"]
    mixed = plain | {"data": plain["data"] | {"unlabelled": {"choose": {"threshold": 0.9}}}}
    recipes = Recipes({"plain.py": plain, "label.py": plain, "mixed.py": mixed, "evaluate.py": plain})
    table = declare(LABELLED + row)
    if fault is None:
        (made,) = [one for one in planning.plan(table, recipes, "paper").stages.values() if one.name == "train"]
        assert list(made.parents) == ["labels"]
    else:
        with pytest.raises(PlanError, match=fault):
            planning.plan(table, recipes, "paper")
