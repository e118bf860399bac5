"""A paper's table: what was printed, what would be run for it, and where both come from.

The folder is the registry: ``benchmarks/<paper>/table<N>.yaml`` is the table ``<paper>/table<N>``. The data classes
here are what such a file becomes once `repro.harness.table_file` has read and checked it. A cell is the table's stages
with its row's and its column's settings laid over them.

A figure, ``<paper>/figure<N>``, is a table that is drawn: its cells are what it is drawn from. ``<paper>/text`` holds
numbers that stand in a paper's text only, ``<paper>/ours_<name>`` asks what a paper leaves open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from repro.errors import TableError, did_you_mean
from repro.harness import places
from repro.harness.number import Number

__all__ = [
    "Accepted", "Claim", "Column", "Drawing", "Gate", "Number", "Paper", "Row", "StageSpec", "Table",
    "clashes", "load", "names", "parents_of", "resolve_name",
]  # fmt: skip

Gate = Literal["A", "B", "C", "void"]

SCALES = ("paper", "small", "tiny", "smoke")
"""From large to small."""

SEEDS_AT = {"small": 3, "tiny": 3, "smoke": 1}
"""How many of a table's seeds a scale takes; ``paper`` takes all."""

KINDS = ("encoder", "propose", "build", "pretrain", "train", "finetune", "label", "evaluate")
"""``build`` makes the model of a recipe and trains nothing: for what is measured of a model and not of its weights.
``label`` labels images by a trained detector."""

SHARED = ("propose", "label")
"""Kinds whose images several jobs can share."""

GATES: tuple[Gate, ...] = ("A", "B", "C", "void")
"""From the strictest to none: A may fail a run, B and C are shown, void is never judged."""


@dataclass(frozen=True)
class Paper:
    """What is quoted, and from where. All empty for a table of our own."""

    title: str = ""
    arxiv: str = ""
    table: str = ""
    figure: str = ""
    as_of: str = ""
    runs: int | None = None
    source: str = ""


@dataclass(frozen=True)
class StageSpec:
    """One stage of a cell, before its recipe is resolved.

    Attributes:
        config: Path of the recipe below ``repro/configs``.
        overrides: Dotted key to value, laid over the recipe.
        seeds: Its own seeds; None means the cell's seed. A cell takes the one at its seed's place, round and round.
        parents: Names of the stages that it starts from.
        cost: What the stage costs at scale paper, quoted: ``gpu_hours`` [low, high] or ``flops``, and the ``source``.
    """

    name: str
    kind: str
    config: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    parents: tuple[str, ...] = ()
    cost: Mapping[str, Any] | None = None


SETTINGS = ("config", "seeds", "kind", "from", "cost")
"""Keys of a stage that are not keys of its recipe."""

Settings = Mapping[str, Mapping[str, Any]]
"""Stage to what a row or column sets there: one of `SETTINGS`, or a dotted key of its recipe."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        group: Rows of one group stand together under this heading.
        cited: Printed beside the others and not run here.
        not_runnable: Why it cannot be run yet; empty if it can.
        published: Evaluates weights that somebody published; they have the size of scale paper, so it runs there only.
        paper: Column id to the printed number; what is not printed is absent.
        corrected: Column id to what the authors said later.
        gate: Its own, None for the table's.
        skip: Stages of the table that this row does not have.
        stages: What it sets in the table's stages.
    """

    id: str
    label: str
    group: str = ""
    cited: bool = False
    not_runnable: str = ""
    published: bool = False
    paper: Mapping[str, Number] = field(default_factory=dict)
    corrected: Mapping[str, Number] = field(default_factory=dict)
    note: str = ""
    source: str = ""
    gate: Gate | None = None
    skip: tuple[str, ...] = ()
    stages: Settings = field(default_factory=dict)

    def waits_for(self, scale: str) -> str:
        """Why it cannot be run at a scale; empty if it can."""
        if self.published and scale != "paper":
            return f"it evaluates published weights, and there are none of scale {scale}"
        return self.not_runnable


@dataclass(frozen=True)
class Column:
    """One column: a data set, a share of labels or a metric. What is None is the table's.

    Attributes:
        machine: Words that all stand in what a record says of its machine, where it is the one of the printed numbers.
        skip: Stages of the table that this column does not need.
        stages: What it sets in the others.
    """

    id: str
    label: str
    group: str = ""
    metric: str | None = None
    tolerance: float | None = None
    not_runnable: str = ""
    note: str = ""
    gate: Gate | None = None
    machine: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    stages: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """What a paper says in words: ``row``, less ``minus`` if given, is above or below a bound in ``column``."""

    id: str
    text: str
    row: str
    column: str
    minus: str | None = None
    above: float | None = None
    below: float | None = None
    metric: str | None = None
    source: str = ""
    gate: Gate = "A"


@dataclass(frozen=True)
class Accepted:
    """Why the accepted numbers of a scale are what they are."""

    scale: str
    date: str
    reason: str


@dataclass(frozen=True)
class Drawing:
    """How a figure is drawn: ``repro/figures/<kind>.py``, and what the file sets there."""

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A declared table, or a figure.

    Attributes:
        metric: "<file of repro/evaluation>.<key>", for columns that name none; empty for a figure without numbers.
        stages: In order, as the table declares them; cells lay their settings over these.
        accepted: Scale → row id → column id → our own number.
        scales: Scale to its seeds, where they are not the first of the table's.
    """

    name: str
    path: Path
    title: str
    paper: Paper
    metric: str
    seeds: tuple[int, ...]
    stages: tuple[StageSpec, ...]
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    tolerance: float = 0.0
    gate: Gate = "B"
    baseline: str | None = None
    higher_is_better: bool = True
    note: str = ""
    claims: tuple[Claim, ...] = ()
    accepted: Mapping[str, Mapping[str, Mapping[str, Number]]] = field(default_factory=dict)
    accepted_reasons: tuple[Accepted, ...] = ()
    scales: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    drawing: Drawing | None = None

    def row(self, id: str) -> Row:
        """Return the row of that id.

        Raises:
            TableError: There is none; the nearest is named.
        """
        return _named(self._rows, id, f"{self.name} has no row")

    def column(self, id: str) -> Column:
        """Return the column of that id.

        Raises:
            TableError: There is none; the nearest is named.
        """
        return _named(self._columns, id, f"{self.name} has no column")

    @cached_property
    def _rows(self) -> dict[str, Row]:
        return {row.id: row for row in self.rows}

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return {column.id: column for column in self.columns}

    def metric_of(self, column: str) -> str:
        """Return the metric of a column: its own or the table's."""
        return self.column(column).metric or self.metric

    def seeds_at(self, scale: str) -> tuple[int, ...]:
        """Return the seeds of a cell at a scale: the file's own, else the first of the table's."""
        return self.scales.get(scale) or self.seeds[: SEEDS_AT.get(scale, len(self.seeds))]

    def runnable_cells(self, scale: str = "paper") -> tuple[tuple[str, str], ...]:
        """Return (row, column) of what can be run at a scale, in order: neither cited nor waiting for something.

        A cell without a printed number is run if its row prints none at all (a row of our own), and is else a gap that
        the paper left.
        """
        return tuple(
            (row.id, column.id)
            for row in self.rows
            for column in self.columns
            if self.stages
            and not (row.cited or row.waits_for(scale) or column.not_runnable)
            and (column.id in row.paper or not row.paper)
        )

    def cell_stages(self, row: str, column: str) -> tuple[StageSpec, ...]:
        """Return the stages of a cell in order, of cells that cannot be run yet too; a cited row has none.

        Raises:
            TableError: There is no such row or column.
        """
        across, down = self.row(row), self.column(column)
        if across.cited:
            return ()
        kept = [spec for spec in self.stages if spec.name not in (*across.skip, *down.skip)]
        laid = [(spec, {**down.stages.get(spec.name, {}), **across.stages.get(spec.name, {})}) for spec in kept]
        kinds = {spec.name: str(settings.get("kind", spec.kind)) for spec, settings in laid}
        return tuple(_laid_over(spec, settings, kinds) for spec, settings in laid)

    @cached_property
    def digest(self) -> str:
        """Hash of what a plan depends on; labels, notes and all numbers may change without a new plan."""
        cells = [
            [row, column, self.metric_of(column), [asdict(spec) for spec in self.cell_stages(row, column)]]
            for row, column in self.runnable_cells()
        ]
        content = [self.name, cells, {scale: self.seeds_at(scale) for scale in SCALES}]
        content += [[row.id for row in self.rows if row.published]] if any(row.published for row in self.rows) else []
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def parents_of(name: str, kinds: Mapping[str, str], named: list[str] | None = None) -> tuple[str, ...]:
    """Return the parents of a stage: those it names, else those that its kind starts from.

    Args:
        name: The stage.
        kinds: Name to kind of all stages of the cell, in order.
        named: What ``from`` says; names that the cell does not have are left out.
    """
    order = list(kinds)
    before = order[: order.index(name)]
    if named is not None:
        return tuple(parent for parent in named if parent in before)

    def last(*wanted: str) -> tuple[str, ...]:
        return tuple([one for one in before if kinds[one] in wanted][-1:])

    match kinds[name]:
        case "pretrain":
            return (*last("encoder"), *last("propose"))
        case "train":
            return (*last("encoder"), *last("label"))
        case "label":
            return last("finetune", "train", "pretrain")
        case "finetune":
            return last("pretrain", "train", "finetune") or last("encoder")
        case "evaluate":
            return last("finetune", "train", "pretrain", "build")
        case _:
            return ()


def clashes(row: Row, column: Column) -> Iterator[tuple[str, str]]:
    """Yield stage and key that a row and a column both set, sections that hold the other's key included."""
    for stage in sorted((row.stages.keys() & column.stages.keys()) - {*row.skip, *column.skip}):
        for key in row.stages[stage]:
            for other in column.stages[stage]:
                if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                    yield stage, max(key, other, key=len)


def load(path_or_name: str | Path, root: Path | None = None) -> Table:
    """Read a table.

    Args:
        path_or_name: "detreg/table5", "table5" where that is clear, or the path of a YAML file.
        root: Folder of the tables, `places.benchmarks()` by default.

    Raises:
        TableError: There is no such table, or it has faults: all are in one message.
    """
    from repro.harness import table_file

    root = root or places.benchmarks()
    path = Path(path_or_name)
    if path.suffix not in (".yaml", ".yml"):
        return table_file.read(root / f"{resolve_name(str(path_or_name), root)[0]}.yaml", root)
    if not path.is_file():
        raise TableError(f"There is no file {path}.")
    return table_file.read(path.absolute(), root)


def names(root: Path | None = None) -> list[str]:
    """Return all names, opening no file: a paper's `table<N>`, `figure<N>`, `text`, `ours…`; then `examples/<name>`."""
    root = root or places.benchmarks()
    found = [path for start in _STARTS for path in root.glob(f"*/{start}*.yaml")]
    papers = [path for path in found if path.parent.name != "examples"]
    examples = root.glob("examples/*.yaml")
    return [f"{p.parent.name}/{p.stem}" for group in (papers, examples) for p in sorted(group, key=_natural)]


def resolve_name(name: str, root: Path | None = None, default_paper: str | None = None) -> tuple[str, str | None]:
    """Return the full name that ``name`` means, and a remark where that took a choice.

    Args:
        name: "detreg/table5" or "table5".
        root: Folder of the tables.
        default_paper: The paper of a bare name that several have; `places.default_paper()` by default.

    Raises:
        TableError: There is no such table, or several and no default; the nearest or all of them are named.
    """
    known = names(root)
    if name in known:
        return name, None
    matches = [full for full in known if full.partition("/")[2] == name]
    if len(matches) == 1:
        return matches[0], f"{name} is {matches[0]}"
    if not matches:
        near = did_you_mean(name, known if "/" in name else [*known, *(full.partition("/")[2] for full in known)])
        raise TableError(f"There is no table {name} in {places.shown(root or places.benchmarks())}. {near}")
    taken = f"{default_paper or places.default_paper()}/{name}"
    if taken not in matches:
        raise TableError(f"{name} could be {' or '.join(matches)}: name one, or set REPRO_PAPER.")
    others = ", ".join(full for full in matches if full != taken)
    return taken, f"{name} is taken as {taken}; there is also {others}"


Item = TypeVar("Item")


def _named(items: Mapping[str, Item], id: str, complaint: str) -> Item:
    if id not in items:
        raise TableError(f"{complaint} {id!r}. {did_you_mean(id, items)}")
    return items[id]


_STARTS = ("table", "figure", "text", "ours")
"""What the files of a paper are called, in the order in which they are listed."""


def _natural(path: Path) -> tuple[str, int, int, str]:
    digits = "".join(character for character in path.stem if character.isdigit())
    kind = next((place for place, start in enumerate(_STARTS) if path.stem.startswith(start)), 0)
    return path.parent.name, kind, int(digits or 0), path.stem


def _laid_over(spec: StageSpec, settings: Mapping[str, Any], kinds: Mapping[str, str]) -> StageSpec:
    """Return a stage with a cell's settings in it."""
    seeds = settings.get("seeds", spec.seeds)
    named = settings.get("from", list(spec.parents) or None)
    return StageSpec(
        name=spec.name,
        kind=kinds[spec.name],
        config=str(settings.get("config", spec.config)),
        overrides={**spec.overrides, **{key: value for key, value in settings.items() if key not in SETTINGS}},
        seeds=None if seeds is None else tuple(seeds),
        parents=parents_of(spec.name, kinds, named),
        cost=settings.get("cost", spec.cost),
    )
