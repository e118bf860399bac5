"""From what a user types for MODEL to a detector: its recipe, its weights, and how it is evaluated.

MODEL is one of three things:

- a cell or a row of a table, ``rtdetr/table2/rtdetrv2-r18vd``: the detector that its stages train, at a scale, with a
  seed;
- the signature of a recorded stage, ``0f3a…``: the detector that it trained, or that it evaluated;
- a recipe, ``rtdetr/rtdetrv2_r18vd.py``, with a file of weights.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import complete, evaluated, names, options, output, plan_files
from repro.errors import ExportError, PlanError, RecipeError, StageError, TableError, did_you_mean

if TYPE_CHECKING:
    from repro.harness.plan import Plan
    from repro.harness.table import Table

DETECTORS = ("pretrain", "train", "finetune")
"""Kinds of stage that leave a detector."""

SIGNATURE = re.compile(r"[0-9a-f]{12}")

Argument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="TABLE/ROW, TABLE/ROW/COLUMN, a signature, or a recipe: rtdetr/rtdetrv2_r18vd.py.",
        autocompletion=complete.addresses,
    ),
]
Weights = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="Ours, or a published file of the detector's family.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of the training. Default: the first of the table's.")]
Random = Annotated[
    bool, typer.Option("--random-weights", help="The model as it is made, untrained: for trying things out.")
]


@dataclass(frozen=True)
class Model:
    """A detector that was asked for.

    Attributes:
        name: What the user typed.
        label: What to call it in a list.
        recipe: Resolved recipe of the stage that trains it.
        scale: The scale of that.
        signature: Of that stage; empty for a recipe.
        stem: What a file of it is called.
        evaluation: Resolved recipe of a stage that evaluates it on images; None where nothing says.
        weights: File of its weights; None for random ones.
    """

    name: str
    label: str
    recipe: Mapping[str, Any]
    scale: str
    stem: str
    signature: str = ""
    evaluation: Mapping[str, Any] | None = None
    weights: Path | None = None

    @property
    def mapper(self) -> Mapping[str, Any]:
        """Recipe of what makes a sample of an image, as in its evaluation.

        Raises:
            RecipeError: nothing says how it is evaluated.
        """
        if self.evaluation is None:
            raise RecipeError(
                f"nothing says how images are prepared for {self.name}: no table evaluates it. Name a recipe that "
                "does: --evaluation common/evaluate_coco_val2017.py"
            )
        mapper: Mapping[str, Any] = self.evaluation["data"]["mapper"]
        return mapper

    @property
    def dataset(self) -> str | None:
        """The data set that it is evaluated on, whose classes it tells apart; else the one it is trained on."""
        section = (self.evaluation or {}).get("data") or self.recipe.get("data") or {}
        found = section.get("dataset")
        return found if isinstance(found, str) else None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of its images in evaluation, where all have one."""
        size = self.mapper.get("augmentation", {}).get("size") if self.evaluation is not None else None
        return (int(size[0]), int(size[1])) if size else None


def find(name: str, scale: str | None = None, seed: int | None = None, evaluation: str | None = None) -> Model:
    """Return the detector that a name means, without its weights.

    Raises:
        ReproError: it means none, or several; the nearest are named.
    """
    if SIGNATURE.fullmatch(name):
        found = _recorded(name)
    elif name.endswith(".py"):
        found = _recipe(name, names.scale(scale))
    else:
        found = _trained(name, names.scale(scale), seed)
    if evaluation is not None:
        resolved = plan_files.resolver()(evaluation, {}, found.scale).recipe
        if not resolved.get("data"):
            raise RecipeError(f"{evaluation} evaluates no images: it has no section data")
        found = dataclasses.replace(found, evaluation=resolved)
    return found


def weighted(model: Model, weights: Path | None, random: bool, output_root: Path) -> Model:
    """Return the same with its weights: those of a file, of its own stage, or random ones if these were asked for.

    Raises:
        StageError: they are not there; what to type is said.
    """
    if random and weights is not None:
        raise ExportError("--weights and --random-weights are given: which of them is meant?")
    if random:
        return model
    if weights is not None:
        if not weights.is_file():
            raise StageError(f"there is no file {weights}")
        return dataclasses.replace(model, weights=weights)
    if not model.signature:
        raise StageError(
            f"{model.name} is a recipe and has no weights: give --weights FILE, or --random-weights to try things out"
        )
    return dataclasses.replace(model, weights=_own_weights(model, output_root))


def expand(name: str) -> list[str]:
    """Return the rows that a table's name, or a pattern among its rows, means; any other name is returned as it is."""
    if SIGNATURE.fullmatch(name) or name.endswith(".py"):
        return [name]
    table, rest = _split(name)
    if len(rest) > 1 or (rest and not set("*?[") & set(rest[0])):
        return [name]
    pattern = rest[0].lower() if rest else "*"
    rows = [row.id for row in table.rows if fnmatch.fnmatchcase(row.id, pattern) and not row.cited]
    if not rows:
        raise TableError(
            f"{table.name} has no row {rest[0]!r}. {did_you_mean(rest[0], [row.id for row in table.rows])}"
        )
    return [f"{table.name}/{row}" for row in rows]


def _own_weights(model: Model, output_root: Path) -> Path:
    from repro.harness import record
    from repro.harness.availability import verified

    folder = output_root / model.signature
    known = record.read(model.signature, plan_files.records())
    found = verified(known, folder) if known else None
    if found is not None and found.checkpoint is not None:
        return folder / str(found.checkpoint["file"])
    told = "its files are not in" if known else "it is not recorded, nor are its files in"
    table, slash, _ = model.name.rpartition("/")
    row = f"{options.program()} run {table.rpartition('/')[0] if table.count('/') > 1 else table} --scale {model.scale}"
    train = f" Train it: {row}." if slash else ""
    raise StageError(
        f"{model.name} at scale {model.scale} has no weights here: {told} {output.short(folder)}.{train} "
        "Or give --weights FILE, or --random-weights to try things out."
    )


def _split(name: str) -> tuple[Table, list[str]]:
    """Return the table that an address begins with, and the rest of its parts."""
    from repro.harness import places
    from repro.harness import table as tables

    parts = name.split("/")
    whole = "/".join(parts[:2])
    if whole in tables.names(places.benchmarks()) or (len(parts) > 1 and (places.benchmarks() / parts[0]).is_dir()):
        return names.load_table(whole), parts[2:]
    return names.load_table(parts[0]), parts[1:]


def _trained(name: str, scale: str, seed: int | None) -> Model:
    table, rest = _split(name)
    if not 1 <= len(rest) <= 2 or not all(rest):
        rows = ", ".join(row.id for row in table.rows if not row.cited)
        raise TableError(f"{name!r} names no detector: write {table.name}/ROW or {table.name}/ROW/COLUMN. Rows: {rows}")
    selection = names.select(table, [rest[0]], rest[1:] or None)
    plan = _plan(table, scale, selection, seed)
    ends = dict(_ends(plan))
    if not ends:
        raise PlanError(f"{name} trains no detector: its stages are {', '.join(sorted(_kinds(plan)))}")
    if len(ends) > 1:
        columns = ", ".join(dict.fromkeys(cell.column for cell in plan.cells))
        raise TableError(f"{name} means {len(ends)} detectors: name one with its column. Columns: {columns}")
    ((signature, evaluation),) = ends.items()
    stage = plan.stages[signature]
    assert selection.rows is not None
    return Model(
        name=name,
        label=f"{table.name}/{selection.rows[0]}{'/' + rest[1] if rest[1:] else ''}",
        recipe=stage.recipe,
        scale=scale,
        stem=f"{table.name}-{'-'.join(rest)}.{scale}".replace("/", "-").replace("%", "percent"),
        signature=signature,
        evaluation=evaluation,
    )


def _plan(table: Table, scale: str, selection: names.Selection, seed: int | None) -> Plan:
    """Return the plan of a row for one seed, of all columns that can be run, without writing it."""
    from repro.harness import plan as planning

    seeds = [table.seeds_at(scale)[0] if seed is None else seed]
    made = planning.plan(table, plan_files.resolver(), scale, selection.rows, selection.columns, seeds)
    return plan_files.narrow(made, table, selection)


def _ends(plan: Plan) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Yield the detector of each cell, with the recipe that evaluates it on images, if one does."""
    for cell in plan.cells:
        stages = [plan.stages[signature] for signature in cell.stages]
        trained = [stage for stage in stages if stage.kind in DETECTORS]
        if trained:
            yield trained[-1].signature, evaluated.by_stage(stages[-1])


def _kinds(plan: Plan) -> set[str]:
    return {stage.kind for stage in plan.stages.values()}


def _recorded(signature: str) -> Model:
    from repro.harness import record

    folder = plan_files.records()
    found = record.latest(signature, folder)
    if found is None:
        near = did_you_mean(signature, {path.name[:12] for path in folder.glob("*.json")}) if folder.is_dir() else ""
        raise StageError(f"there is no record of {signature} in {output.short(folder)}. {near[:200]}")
    trained, evaluation = found, None
    if found.kind == "evaluate":
        evaluation = found.recipe if found.recipe.get("data") else None
        parents = [record.latest(parent, folder) for parent in found.parents.values()]
        trained = next((one for one in parents if one is not None and one.kind in DETECTORS), found)
    if trained.kind not in DETECTORS:
        raise StageError(f"{signature} ({found.label}) is a stage {found.kind}, which leaves no detector")
    return Model(
        name=signature,
        label=trained.label,
        recipe=trained.recipe,
        scale=trained.scale,
        stem=trained.signature,
        signature=trained.signature,
        evaluation=evaluation or evaluated.by_plans(trained.signature),
    )


def _recipe(config: str, scale: str) -> Model:
    resolved = plan_files.resolver()(config, {}, scale)
    if "model" not in resolved.recipe:
        raise RecipeError(f"{config} describes no detector: it has no section model")
    return Model(
        name=config,
        label=config.removesuffix(".py"),
        recipe=resolved.recipe,
        scale=scale,
        stem=f"{Path(config).stem}.{scale}",
        evaluation=evaluated.by_tables(config, scale),
    )
