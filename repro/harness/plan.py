"""From a table to its stages: each named by its content, each asked for once, in an order that can be run.

A plan is a file, one for each table and scale, that holds every resolved recipe. Jobs build from it alone, and neither
``diff`` nor ``status`` needs a recipe, a model or torch again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from repro.errors import PlanError, RecipeError, collect
from repro.harness import atomic
from repro.harness.signature import combine, digest

if TYPE_CHECKING:
    from repro.harness.table import StageSpec, Table

SCHEMA = 1
SCALES = ("paper", "small", "tiny", "smoke")


class Resolved(NamedTuple):
    """A recipe with a table's settings and a scale's values laid over it.

    Attributes:
        recipe: plain dictionaries, lists, numbers and text.
        datasets: fingerprint by the name of each data set that the recipe reads.
    """

    recipe: dict[str, Any]
    datasets: dict[str, str]


Resolve = Callable[[str, Mapping[str, Any], str], Resolved]
"""Config path, overrides by dotted key, scale → resolved recipe. Raises RecipeError."""


@dataclass(frozen=True)
class Stage:
    """One piece of work: a recipe, a seed, and what it starts from.

    Attributes:
        signature: hash of all that follows except labels.
        kind: what the engine does with the recipe.
        name: what the table calls the stage.
        label: for people.
        config: path of the recipe's file below ``repro/configs``.
        recipe: resolved.
        parents: signature by stage name.
        datasets: fingerprint by data set.
    """

    signature: str
    kind: str
    name: str
    label: str
    config: str
    recipe: dict[str, Any]
    seed: int
    parents: dict[str, str] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    scale: str = "paper"


@dataclass(frozen=True)
class Cell:
    """One number of the table at one seed: the stages that lead to it, the last of which evaluates."""

    row: str
    column: str
    seed: int
    metric: str
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The stages of a table at a scale, parents before children, and the cells that need them."""

    table: str
    digest: str
    scale: str
    stages: dict[str, Stage]
    cells: tuple[Cell, ...]

    def select(
        self,
        rows: Iterable[str] | None = None,
        columns: Iterable[str] | None = None,
        seeds: Iterable[int] | None = None,
    ) -> Plan:
        """The part of the plan that some rows, columns and seeds need; None means all of them."""
        wanted = [
            (None if choice is None else set(choice), name)
            for choice, name in ((rows, "row"), (columns, "column"), (seeds, "seed"))
        ]
        cells = tuple(
            cell for cell in self.cells if all(some is None or getattr(cell, name) in some for some, name in wanted)
        )
        needed = {signature for cell in cells for signature in cell.stages}
        stages = {signature: stage for signature, stage in self.stages.items() if signature in needed}
        return Plan(self.table, self.digest, self.scale, stages, cells)


def plan(
    table: Table,
    resolve: Resolve,
    scale: str = "paper",
    rows: Iterable[str] | None = None,
    columns: Iterable[str] | None = None,
    seeds: Iterable[int] | None = None,
) -> Plan:
    """Work out the stages of a table.

    Args:
        table: what the paper claims.
        resolve: turns a recipe's path into plain data; called once for each distinct recipe.
        scale: one of ``SCALES``.
        rows: ids; None for all.
        columns: ids; None for all.
        seeds: None for the seeds that the table has at this scale.

    Raises:
        PlanError: one or more recipes cannot be resolved (all of them are named), or there is no such scale.
    """
    if scale not in SCALES:
        raise PlanError(f"There is no scale {scale!r}. Scales: {', '.join(SCALES)}.")
    builder = _Builder(table, resolve, scale)
    chosen_rows, chosen_columns = (None if x is None else set(x) for x in (rows, columns))
    chosen_seeds = table.seeds_at(scale) if seeds is None else tuple(seeds)
    for row, column in table.runnable_cells():
        if (chosen_rows is None or row in chosen_rows) and (chosen_columns is None or column in chosen_columns):
            builder.cell(row, column, chosen_seeds)
    collect(builder.faults, f"The plan of {table.name} at scale {scale}", PlanError)
    return Plan(table.name, table.digest, scale, builder.stages, tuple(builder.cells))


class _Builder:
    """Collects stages by signature, and resolves and hashes each distinct recipe once."""

    def __init__(self, table: Table, resolve: Resolve, scale: str) -> None:
        self.table, self.resolve, self.scale = table, resolve, scale
        self.stages: dict[str, Stage] = {}
        self.cells: list[Cell] = []
        self.faults: list[str] = []
        self._resolved: dict[str, tuple[Resolved, str] | None] = {}
        self._labels: set[str] = set()

    def cell(self, row: str, column: str, seeds: tuple[int, ...]) -> None:
        """Add one cell with all its seeds."""
        specs = self.table.cell_stages(row, column)
        resolved = [self._resolve(spec, row, column) for spec in specs]
        known = [found for found in resolved if found is not None]
        if len(known) < len(specs):
            return
        metric = self.table.metric_of(column)
        for index, seed in enumerate(seeds):
            signatures: dict[str, str] = {}
            for spec, (recipe, hashed) in zip(specs, known, strict=True):
                own = spec.seeds[index % len(spec.seeds)] if spec.seeds else seed
                parents = {name: signatures[name] for name in spec.parents}
                signature = combine(spec.kind, hashed, own, parents, recipe.datasets)
                signatures[spec.name] = signature
                if signature not in self.stages:
                    label = self._label(spec, row, column, own)
                    self.stages[signature] = Stage(
                        signature=signature,
                        kind=spec.kind,
                        name=spec.name,
                        label=label,
                        config=spec.config,
                        recipe=recipe.recipe,
                        seed=own,
                        parents=parents,
                        datasets=recipe.datasets,
                        scale=self.scale,
                    )
            self.cells.append(Cell(row, column, seed, metric, tuple(signatures.values())))

    def _resolve(self, spec: StageSpec, row: str, column: str) -> tuple[Resolved, str] | None:
        key = json.dumps([spec.config, dict(spec.overrides)], sort_keys=True)
        if key not in self._resolved:
            self._resolved[key] = None
            try:
                resolved = self.resolve(spec.config, spec.overrides, self.scale)
                self._resolved[key] = (resolved, digest(resolved.recipe))
            except RecipeError as error:
                self.faults.append(f"row {row}, column {column}, {spec.name}: {error}")
        return self._resolved[key]

    def _label(self, spec: StageSpec, row: str, column: str, seed: int) -> str:
        """Shared stages are called by their recipe, others by the cell that asked first."""
        short = f"{spec.name} {spec.config.removesuffix('.py')}"
        long = f"{spec.name} {row}/{column} seed {seed}"
        label = short if spec.seeds and short not in self._labels else long
        self._labels.add(label)
        return label


def path_of(table: str, scale: str, folder: Path) -> Path:
    """File of a plan, such as ``detreg-table5.tiny.json``."""
    return folder / f"{table.replace('/', '-')}.{scale}.json"


def write(plan: Plan, folder: Path) -> Path:
    """Write the plan's file, each distinct recipe once."""
    recipes: dict[str, dict[str, Any]] = {}
    seen: dict[int, str] = {}
    stages = []
    for stage in plan.stages.values():
        if id(stage.recipe) not in seen:
            seen[id(stage.recipe)] = digest(stage.recipe)[:16]
        name = seen[id(stage.recipe)]
        recipes.setdefault(name, stage.recipe)
        stages.append({key: value for key, value in vars(stage).items() if key not in ("recipe", "scale")})
        stages[-1]["recipe"] = name
    content = {
        "schema": SCHEMA,
        "table": plan.table,
        "digest": plan.digest,
        "scale": plan.scale,
        "recipes": recipes,
        "stages": stages,
        "cells": [vars(cell) for cell in plan.cells],
    }
    path = path_of(plan.table, plan.scale, folder)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.replace(path, _dump(content))
    return path


def read(table: str, scale: str, folder: Path) -> Plan:
    """Read a plan's file.

    Raises:
        PlanError: there is none, or it was written by another version.
    """
    path = path_of(table, scale, folder)
    again = f"Run `repro plan {table} --scale {scale}`."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError(f"{table} is not planned at scale {scale}: there is no {path}. {again}") from None
    except json.JSONDecodeError as error:
        raise PlanError(f"{path} is not JSON ({error}). {again}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise PlanError(f"{path} was written by another version of repro. {again}")
    stages = {
        entry["signature"]: Stage(**{**entry, "recipe": content["recipes"][entry["recipe"]], "scale": scale})
        for entry in content["stages"]
    }
    cells = tuple(Cell(**{**cell, "stages": tuple(cell["stages"])}) for cell in content["cells"])
    return Plan(content["table"], content["digest"], content["scale"], stages, cells)


def ensure_fresh(plan: Plan, table: Table) -> None:
    """Refuse a plan that was made from another state of the table.

    Raises:
        PlanError: the table has changed in a way that matters to the plan.
    """
    if plan.digest != table.digest:
        raise PlanError(
            f"The plan of {plan.table} at scale {plan.scale} is stale: {table.path} has changed since. "
            f"Run `repro plan {plan.table} --scale {plan.scale}`."
        )


def _dump(content: dict[str, Any]) -> str:
    """One line an entry, so that a plan under version control shows what changed."""
    lines = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            items = ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in value)
            lines.append(f"{json.dumps(key)}: [\n{items}\n]")
        elif key == "recipes" and value:
            items = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in value.items())
            lines.append(f"{json.dumps(key)}: {{\n{items}\n}}")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
