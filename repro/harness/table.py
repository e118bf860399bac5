"""A paper's table: what was printed, and which stages lead to each of its cells.

The folder is the registry: ``benchmarks/<paper>/table<N>.yaml`` is the table ``<paper>/table<N>``. Files are validated
by ``table_file``; what it returns holds data and answers questions, and never changes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from repro.errors import TableError, did_you_mean
from repro.harness import places

KINDS = ("encoder", "propose", "pretrain", "train", "finetune", "evaluate")
GATES = ("A", "B", "C", "void")
SCALE_SEEDS = {"smoke": 1, "tiny": 3, "small": 3}
"""How many of a table's seeds a scale takes, from the first; paper takes them all."""

_NUMBER = re.compile(
    r"^(?P<value>[-+]?\d*\.?\d+)\s*(?:(?:±|\+/-|\+-)\s*(?P<spread>\d*\.?\d+))?\s*(?:\((?P<runs>\d+)\))?$"
)


@dataclass(frozen=True)
class Number:
    """A number as it stands in print, since printed precision is part of the claim.

    Attributes:
        text: as printed.
        spread: standard deviation over runs, when printed.
        runs: how many runs it stands for.
        decimals: digits behind the point.
    """

    text: str
    value: float
    spread: float | None = None
    runs: int | None = None
    decimals: int = 0

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit: how far rounding may have moved the number."""
        return 0.5 * 10.0**-self.decimals

    @classmethod
    def parse(cls, text: str | float, runs: int | None = None) -> Number:
        """Read ``14.58``, ``14.58 ± 0.3`` or ``14.58 ± 0.3 (5)``.

        Args:
            text: as printed; quote it in YAML to keep a final zero.
            runs: taken when the text names no count.

        Raises:
            ValueError: it is none of these.
        """
        printed = str(text).strip()
        found = _NUMBER.match(printed)
        if not found:
            raise ValueError(f"{printed!r} is not a number as printed, such as 14.58, 14.58 ± 0.3 or 14.58 ± 0.3 (5)")
        value, spread, count = found.group("value", "spread", "runs")
        return cls(
            text=printed,
            value=float(value),
            spread=None if spread is None else float(spread),
            runs=runs if count is None else int(count),
            decimals=len(value.partition(".")[2]),
        )


@dataclass(frozen=True)
class StageSpec:
    """One stage of one cell, before its recipe is resolved.

    Attributes:
        name: what the table calls it.
        kind: one of ``KINDS``.
        config: recipe, relative to ``repro/configs``.
        overrides: value by dotted key.
        seeds: its own seeds; None means the cell's.
        parents: names of the stages that it starts from.
    """

    name: str
    kind: str
    config: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A method. ``stages`` maps a stage's name to what the row sets in it."""

    id: str
    label: str
    paper: Mapping[str, Number] = field(default_factory=dict)
    corrected: Mapping[str, Number] = field(default_factory=dict)
    cited: bool = False
    not_runnable: str | None = None
    skip: tuple[str, ...] = ()
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gate: str | None = None
    group: str | None = None
    note: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Column:
    """A data set, a share of labels or a metric."""

    id: str
    label: str
    group: str | None = None
    metric: str | None = None
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    not_runnable: str | None = None
    gate: str | None = None
    tolerance: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Claim:
    """What the paper says in words: the difference of two rows in a column lies above (or below) a bound."""

    id: str
    text: str
    row: str
    minus: str | None
    column: str
    above: float | None = None
    below: float | None = None
    metric: str | None = None
    gate: str = "A"
    source: str | None = None


@dataclass(frozen=True)
class Paper:
    """Where the table stands."""

    title: str
    arxiv: str | None = None
    table: str | None = None
    as_of: str | None = None
    runs: int | None = None
    source: str | None = None


@dataclass(frozen=True)
class Table:
    """A table with its rows, columns, stages and claims."""

    name: str
    path: Path
    title: str
    paper: Paper
    metric: str
    seeds: tuple[int, ...]
    stages: tuple[StageSpec, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    tolerance: float = 0.0
    gate: str = "B"
    baseline: str | None = None
    claims: tuple[Claim, ...] = ()
    accepted: Mapping[str, Mapping[str, Mapping[str, Number]]] = field(default_factory=dict)
    scales: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    higher_is_better: bool = True
    note: str | None = None

    def row(self, id: str) -> Row:
        """The row with an id.

        Raises:
            TableError: there is none; the nearest is named.
        """
        return _one(self.rows, id, f"{self.name} has no row")

    def column(self, id: str) -> Column:
        """The column with an id.

        Raises:
            TableError: there is none; the nearest is named.
        """
        return _one(self.columns, id, f"{self.name} has no column")

    def metric_of(self, column: str) -> str:
        """Metric of a column: its own or the table's."""
        return self.column(column).metric or self.metric

    def seeds_at(self, scale: str) -> tuple[int, ...]:
        """Seeds of a scale."""
        if scale in self.scales:
            return self.scales[scale]
        return self.seeds[: SCALE_SEEDS.get(scale, len(self.seeds))]

    def runnable_cells(self) -> tuple[tuple[str, str], ...]:
        """(row, column) of what can be run, in the table's order.

        A cell without a printed number is run all the same if its row prints none at all (a row of our own).
        """
        return tuple(
            (row.id, column.id)
            for row in self.rows
            for column in self.columns
            if not (row.cited or row.not_runnable or column.not_runnable) and (column.id in row.paper or not row.paper)
        )

    def cell_stages(self, row: str, column: str) -> tuple[StageSpec, ...]:
        """The table's stages with the row's and the column's settings laid over them.

        Raises:
            TableError: there is no such row or column.
        """
        across, down = self.row(row), self.column(column)
        kept = [spec for spec in self.stages if spec.name not in across.skip]
        specs: list[StageSpec] = []
        for spec in kept:
            settings = {**down.stages.get(spec.name, {}), **across.stages.get(spec.name, {})}
            config = str(settings.pop("config", spec.config))
            parents = parents_of(spec, specs)
            specs.append(StageSpec(spec.name, spec.kind, config, {**spec.overrides, **settings}, spec.seeds, parents))
        return tuple(specs)

    @functools.cached_property
    def digest(self) -> str:
        """Hash of all that matters to a plan: not of labels, notes, printed or accepted numbers."""
        cells = [
            (row, column, self.metric_of(column), [_plain(spec) for spec in self.cell_stages(row, column)])
            for row, column in self.runnable_cells()
        ]
        seeds = {scale: self.seeds_at(scale) for scale in ("paper", *SCALE_SEEDS)}
        text = json.dumps([cells, seeds], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def parents_of(spec: StageSpec, earlier: list[StageSpec]) -> tuple[str, ...]:
    """Names of the stages that one starts from: those it names, else what its kind starts from.

    ===========  =====================================================================
    kind         starts from
    ===========  =====================================================================
    encoder      nothing
    propose      nothing
    pretrain     encoder, propose
    train        encoder
    finetune     the nearest pretrain, train or finetune; where there is none, encoder
    evaluate     the nearest finetune, train or pretrain
    ===========  =====================================================================

    Args:
        spec: the stage.
        earlier: the cell's stages before it, in order.
    """
    if spec.parents:
        return tuple(name for name in spec.parents if any(other.name == name for other in earlier))

    def nearest(*kinds: str) -> tuple[str, ...]:
        return next(((other.name,) for other in reversed(earlier) if other.kind in kinds), ())

    match spec.kind:
        case "pretrain":
            return nearest("encoder") + nearest("propose")
        case "train":
            return nearest("encoder")
        case "finetune":
            return nearest("pretrain", "train", "finetune") or nearest("encoder")
        case "evaluate":
            return nearest("finetune", "train", "pretrain")
        case _:
            return ()


def load(name: str | Path, root: Path | None = None) -> Table:
    """Read a table.

    Args:
        name: ``paper/table5``, a bare name that resolves, or a path to a YAML file.
        root: folder of the tables.

    Raises:
        TableError: there is none, or it has faults; all are in one message.
    """
    from repro.harness.table_file import parse

    root = root or places.benchmarks()
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.exists():
            raise TableError(f"There is no file {path}.")
        inside = path.absolute().is_relative_to(root.absolute())
        full = path.absolute().relative_to(root.absolute()).with_suffix("").as_posix() if inside else path.stem
        return parse(path, full)
    full, _ = resolve_name(str(name), root)
    return parse(root / f"{full}.yaml", full)


def names(root: Path | None = None) -> list[str]:
    """All tables, by paper and then by number; nothing is parsed."""
    root = root or places.benchmarks()
    found = [
        path.relative_to(root).with_suffix("").as_posix()
        for path in root.glob("*/*.yaml")
        if path.parent.name not in ("nightly", "perf")
    ]
    return sorted(found, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def resolve_name(name: str, root: Path | None = None, default_paper: str | None = None) -> tuple[str, str | None]:
    """Complete a table's name.

    A bare name is taken when it is unique; else the paper is ``default_paper``, or ``REPRO_PAPER``, or
    ``default_paper`` in ``[tool.repro]`` of the project.

    Returns:
        The full name, and a remark on what else would have matched, if something did.

    Raises:
        TableError: nothing matches; the nearest name is given.
    """
    known = names(root)
    if name in known:
        return name, None
    matches = [full for full in known if full.partition("/")[2] == name]
    if len(matches) == 1:
        return matches[0], None
    if matches:
        paper = default_paper or os.environ.get("REPRO_PAPER") or _configured_paper()
        chosen = f"{paper}/{name}"
        others = ", ".join(full for full in matches if full != chosen)
        if chosen in matches:
            return chosen, f"{name} means {chosen} here; also there: {others}."
        raise TableError(f"{name} could be any of {', '.join(matches)}. Name one, or set REPRO_PAPER.")
    raise TableError(f"There is no table {name}. {did_you_mean(name, known + [full.split('/')[1] for full in known])}")


def _configured_paper() -> str | None:
    path = places.project_root() / "pyproject.toml"
    if not path.exists():
        return None
    found = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("repro", {}).get("default_paper")
    return None if found is None else str(found)


Item = TypeVar("Item", Row, Column)


def _one(items: tuple[Item, ...], id: str, complaint: str) -> Item:
    for item in items:
        if item.id == id:
            return item
    raise TableError(f"{complaint} {id!r}. {did_you_mean(id, [item.id for item in items])}")


def _plain(spec: StageSpec) -> list[Any]:
    return [spec.name, spec.kind, spec.config, dict(spec.overrides), spec.seeds, spec.parents]
