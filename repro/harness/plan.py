"""From a table to the stages that have to exist: each once, whichever cells ask for it.

A plan is a file, one a table and scale. It holds every resolved recipe (each once, by its content), so jobs build from
it alone, and it names the table's content that it was made from, so a stale one is noticed. Making it needs a function
that resolves recipes; reading it needs nothing.

The same table, recipes and data sets give the same bytes.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from repro.errors import PlanError, ReproError, collect, did_you_mean
from repro.harness import atomic, places
from repro.harness.signature import combine, digest
from repro.harness.table import SCALES, Column, Row, StageSpec, Table

SCHEMA = 1


class Resolved(NamedTuple):
    """A recipe as plain values, and the fingerprints of the data sets that it reads."""

    recipe: dict[str, Any]
    datasets: dict[str, str]


Resolve = Callable[[str, Mapping[str, Any], str], Resolved]
"""Config, overrides and scale to the resolved recipe."""


@dataclass(frozen=True)
class Stage:
    """One thing to compute.

    Attributes:
        signature: Its name: a hash of all below that can change the result.
        kind: Which function runs it.
        name: What the table calls it.
        label: What people read; two plans may label the same stage differently.
        recipe: Resolved, as plain values.
        parents: Name to signature of the stages it starts from.
        datasets: Name to fingerprint.
        cost: What somebody says it costs at this scale, see `repro.harness.table.StageSpec`; None where nobody does.
    """

    signature: str
    kind: str
    name: str
    label: str = field(compare=False)
    config: str
    recipe: dict[str, Any]
    seed: int
    parents: dict[str, str] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    scale: str = "paper"
    cost: dict[str, Any] | None = None


@dataclass(frozen=True)
class Cell:
    """One number to measure: ``metric`` of the last of ``stages``, which are in order."""

    row: str
    column: str
    seed: int
    metric: str
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All stages of a table at a scale, parents first, and the cells that need them.

    Attributes:
        keep: Stages whose files are wanted, and not their records only: what a figure is drawn from. Not in the file.
    """

    table: str
    digest: str
    scale: str
    stages: dict[str, Stage]
    cells: tuple[Cell, ...]
    keep: frozenset[str] = frozenset()

    def select(
        self,
        rows: Iterable[str] | None = None,
        columns: Iterable[str] | None = None,
        seeds: Iterable[int] | None = None,
    ) -> Plan:
        """Return the part of the plan that some rows, columns (by id) and seeds need; None means all of them."""
        wanted = [
            (name, None if choice is None else set(choice))
            for name, choice in (("row", rows), ("column", columns), ("seed", seeds))
        ]
        cells = tuple(
            cell for cell in self.cells if all(some is None or getattr(cell, name) in some for name, some in wanted)
        )
        needed = {signature for cell in cells for signature in cell.stages}
        return replace(self, stages={sig: one for sig, one in self.stages.items() if sig in needed}, cells=cells)


def plan(
    table: Table,
    resolve: Resolve,
    scale: str = "paper",
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Plan:
    """Work out the stages of a table.

    Args:
        table: The declared table.
        resolve: Resolves a recipe; called once for each distinct recipe and settings.
        scale: One of `repro.harness.table.SCALES`.
        rows: Ids, labels or patterns such as ``det*``; all by default.
        columns: The same.
        seeds: Instead of the scale's.

    Raises:
        PlanError: A selection matches nothing, or recipes cannot be resolved: all faults are in one message.
    """
    if scale not in SCALES:
        raise PlanError(f"There is no scale {scale}. {did_you_mean(scale, SCALES)}")
    chosen_rows = _select(table.rows, rows, f"{table.name} has no row")
    chosen_columns = _select(table.columns, columns, f"{table.name} has no column")
    planner = _Planner(table, resolve, scale, table.seeds_at(scale) if seeds is None else seeds)
    for row, column in table.runnable_cells(scale):
        if row in chosen_rows and column in chosen_columns:
            planner.add(table.row(row), table.column(column))
    collect(planner.faults(), f"{places.shown(table.path)} at scale {scale}", PlanError)
    return planner.plan()


def path_of(table_name: str, scale: str, folder: Path) -> Path:
    """Return the file of a plan, such as ``detreg-table5.tiny.json``."""
    return folder / f"{_stem(table_name)}.{scale}.json"


def write(plan: Plan, folder: Path | None = None) -> Path:
    """Write a plan, replacing an older one of the same table and scale, and return its path."""
    folder = folder or places.results() / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(plan.table, plan.scale, folder)
    atomic.replace(path, _to_json(plan))
    return path


def read(table_name: str, scale: str, folder: Path | None = None) -> Plan:
    """Return the plan that was written last for a table at a scale.

    Raises:
        PlanError: There is none, or it is not one that this version wrote.
    """
    folder = folder or places.results() / "plans"
    path = path_of(table_name, scale, folder)
    command = f"repro plan {table_name} --scale {scale}"
    try:
        content = atomic.read_json(path)
    except ValueError as error:
        raise PlanError(f"{path} is not a plan: {error}. Write it anew: {command}") from error
    if content is None:
        there = [one.name.split(".")[-2] for one in sorted(folder.glob(f"{_stem(table_name)}.*.json"))]
        also = f" There is one for scale {', '.join(there)}." if there else ""
        raise PlanError(f"{table_name} is not planned at scale {scale}: looked for {path}.{also} Make it: {command}")
    if content.get("schema") != SCHEMA:
        raise PlanError(
            f"{path} has schema {content.get('schema')!r}; this version reads {SCHEMA}. Write it anew: {command}"
        )
    try:
        return _from_json(content)
    except (KeyError, TypeError) as error:
        raise PlanError(f"{path} is damaged ({error!r}). Write it anew: {command}") from error


def ensure_fresh(plan: Plan, table: Table) -> None:
    """Refuse a plan that was made from another state of its table.

    Raises:
        PlanError: The table has changed since; the command that repairs it is named.
    """
    if plan.digest != table.digest:
        raise PlanError(
            f"The plan of {plan.table} at scale {plan.scale} is stale: {places.shown(table.path)} has changed since. "
            f"Plan it anew: repro plan {plan.table} --scale {plan.scale}"
        )


class _Recipe(NamedTuple):
    """A resolved recipe with its hash, made once."""

    resolved: Resolved
    digest: str


def _model_alone(resolved: Resolved) -> Resolved:
    """Return what counts of a recipe whose model is built and not trained: how it would be trained changes no name."""
    return Resolved({name: part for name, part in resolved.recipe.items() if name in ("model", "run")}, {})


def _labels_misfit(spec: StageSpec, recipe: Mapping[str, Any], kinds: Mapping[str, str]) -> str | None:
    """Return what is wrong between a stage and one that labels images for it, if anything.

    Args:
        spec: The stage.
        recipe: Its own, resolved.
        kinds: Name to kind of all stages of the cell.
    """
    chooses = "choose" in ((recipe.get("data") or {}).get("unlabelled") or {})
    labels = [parent for parent in spec.parents if kinds[parent] == "label"]
    if labels and not chooses:
        return (
            f"it starts from {labels[0]}, which labels images, and recipe {spec.config} has no data.unlabelled.choose "
            f"to take them by: let the row skip {labels[0]}, or name another recipe"
        )
    if chooses and not labels:
        return f"recipe {spec.config} has data.unlabelled.choose, and no stage of kind label comes before it"
    return None


class _Planner:
    """Gathers the stages of one table."""

    def __init__(self, table: Table, resolve: Resolve, scale: str, seeds: Sequence[int]) -> None:
        self.table, self.resolve, self.scale, self.seeds = table, resolve, scale, seeds
        self.stages: dict[str, Stage] = {}
        self.cells: list[Cell] = []
        self._faults: dict[str, list[str]] = {}
        self._recipes: dict[tuple[bool, str, str], _Recipe | None] = {}
        self._made: dict[tuple[int, str, int, tuple[str, ...]], str] = {}
        self._users: dict[str, list[tuple[str, str]]] = {}

    def add(self, row: Row, column: Column) -> None:
        """Add the stages of one cell for all seeds."""
        specs = self.table.cell_stages(row.id, column.id)
        where = f'row "{row.label}", column "{column.label}"'
        recipes = {spec.name: self._recipe(spec, where) for spec in specs}
        found = {name: recipe for name, recipe in recipes.items() if recipe is not None}
        if len(found) < len(recipes):
            return
        kinds = {spec.name: spec.kind for spec in specs}
        for spec in specs:
            if fault := _labels_misfit(spec, found[spec.name].resolved.recipe, kinds):
                self._faults.setdefault(fault, []).append(f"{where}, {spec.name}")
        metric = column.metric or self.table.metric
        for place, seed in enumerate(self.seeds):
            made: dict[str, str] = {}
            for spec in specs:
                own = seed if spec.seeds is None else spec.seeds[self._place(seed, place) % len(spec.seeds)]
                parents = {name: made[name] for name in spec.parents}
                made[spec.name] = self._stage(spec, found[spec.name], own, parents)
                users = self._users.setdefault(made[spec.name], [])
                if not users or users[-1] != (row.id, column.id):
                    users.append((row.id, column.id))
            self.cells.append(Cell(row.id, column.id, seed, metric, tuple(made.values())))

    def faults(self) -> list[str]:
        """Return what kept recipes from resolving: each cause once, with the first cell that met it."""
        return [
            f"{met[0]}{f' (and {len(met) - 1} more)' if len(met) > 1 else ''}: {cause}"
            for cause, met in self._faults.items()
        ]

    def plan(self) -> Plan:
        """Return what was gathered, with labels that say who shares a stage."""
        labelled = {sig: replace(stage, label=self._label(stage)) for sig, stage in self.stages.items()}
        return Plan(self.table.name, self.table.digest, self.scale, labelled, tuple(self.cells))

    def _place(self, seed: int, otherwise: int) -> int:
        """Place of a seed among the table's, so that a selection of seeds keeps each one's parents."""
        return self.table.seeds.index(seed) if seed in self.table.seeds else otherwise

    def _recipe(self, spec: StageSpec, where: str) -> _Recipe | None:
        key = (spec.kind == "build", spec.config, json.dumps(spec.overrides, sort_keys=True, default=str))
        if key not in self._recipes:
            self._recipes[key] = None
            try:
                resolved = self.resolve(spec.config, spec.overrides, self.scale)
                resolved = _model_alone(resolved) if spec.kind == "build" else resolved
                self._recipes[key] = _Recipe(resolved, digest(resolved.recipe))
            except ReproError as error:
                self._faults.setdefault(str(error), []).append(f"{where}, {spec.name}")
        return self._recipes[key]

    def _stage(self, spec: StageSpec, recipe: _Recipe, seed: int, parents: dict[str, str]) -> str:
        key = (id(recipe), spec.kind, seed, tuple(f"{name} {signature}" for name, signature in parents.items()))
        if key not in self._made:
            datasets = recipe.resolved.datasets
            signature = combine(spec.kind, recipe.digest, seed, parents, datasets)
            self._made[key] = signature
            if signature not in self.stages:
                self.stages[signature] = Stage(
                    signature=signature,
                    kind=spec.kind,
                    name=spec.name,
                    label="",
                    config=spec.config,
                    recipe=recipe.resolved.recipe,
                    seed=seed,
                    parents=parents,
                    datasets=datasets,
                    scale=self.scale,
                    cost=dict(spec.cost) if spec.cost and self.scale == "paper" and spec.kind != "build" else None,
                )
        return self._made[key]

    def _label(self, stage: Stage) -> str:
        users = self._users[stage.signature]
        rows, columns = dict.fromkeys(row for row, _ in users), dict.fromkeys(column for _, column in users)
        if len(rows) > 1:
            place = Path(stage.config).stem
        elif len(columns) > 1:
            place = f"{users[0][0]} ({len(columns)} columns)"
        else:
            place = "/".join(users[0])
        return f"{stage.name} {place} seed {stage.seed}"


def _select(items: Sequence[Row] | Sequence[Column], wanted: Sequence[str] | None, complaint: str) -> set[str]:
    """Return the ids of the rows or columns that a selection means.

    Raises:
        PlanError: An entry of the selection matches nothing; all such entries are named.
    """
    if wanted is None:
        return {item.id for item in items}
    chosen: set[str] = set()
    faults = []
    for one in wanted:
        found = [item.id for item in items if one in (item.id, item.label) or fnmatch.fnmatchcase(item.id, one.lower())]
        chosen.update(found)
        if not found:
            faults.append(f"{complaint} {one!r}. {did_you_mean(one, [item.id for item in items])}")
    if faults:
        raise PlanError("\n".join(faults))
    return chosen


def _stem(table_name: str) -> str:
    return table_name.replace("/", "-")


def _to_json(plan: Plan) -> str:
    """Return the file's text: one line a recipe, a stage and a cell, so that it can be read and compared."""
    recipes: dict[str, str] = {}
    names: dict[int, str] = {}  # by identity: the planner made one dictionary for each distinct recipe
    stages = []
    for stage in plan.stages.values():
        if id(stage.recipe) not in names:
            text = json.dumps(stage.recipe, sort_keys=True, ensure_ascii=False)
            names[id(stage.recipe)] = hashlib.sha256(text.encode()).hexdigest()[:12]
            recipes[names[id(stage.recipe)]] = text
        content = {key: value for key, value in vars(stage).items() if not (key == "cost" and value is None)}
        stages.append(json.dumps(content | {"recipe": names[id(stage.recipe)]}, ensure_ascii=False))
    cells = [json.dumps(asdict(cell), ensure_ascii=False) for cell in plan.cells]
    head = {"schema": SCHEMA, "table": plan.table, "scale": plan.scale, "digest": plan.digest}
    parts = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
    parts.append('"recipes": {\n' + ",\n".join(f' "{name}": {text}' for name, text in sorted(recipes.items())) + "\n}")
    parts += [f'"{key}": [\n ' + ",\n ".join(lines) + "\n]" for key, lines in (("stages", stages), ("cells", cells))]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _from_json(content: Mapping[str, Any]) -> Plan:
    recipes = content["recipes"]
    stages = [Stage(**(one | {"recipe": recipes[one["recipe"]]})) for one in content["stages"]]
    cells = tuple(Cell(**(one | {"stages": tuple(one["stages"])})) for one in content["cells"])
    return Plan(content["table"], content["digest"], content["scale"], {one.signature: one for one in stages}, cells)
