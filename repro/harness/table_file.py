"""Read ``table<N>.yaml``: every fault at once, each with its line, its row and column, and the nearest right key.

`repro.harness.yaml_lines` gives values with their lines, `repro.harness.table_schema` says which keys may stand where;
here the parts are put together, and what only shows between them is checked: names that point nowhere, settings that a
row and a column both make, stages without a recipe.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from repro.errors import TableError, did_you_mean
from repro.harness import places, yaml_lines
from repro.harness.signature import flatten
from repro.harness.table import (
    SCALES,
    SETTINGS,
    Accepted,
    Claim,
    Column,
    Number,
    Row,
    StageSpec,
    Table,
    clashes,
)
from repro.harness.table_schema import (
    ClaimPart,
    ColumnPart,
    PaperPart,
    Part,
    ReasonPart,
    RowPart,
    ScalePart,
    StagePart,
    TablePart,
    check,
    fitting,
    sound,
)


def read(path: Path, root: Path) -> Table:
    """Read one file.

    Args:
        path: The file.
        root: Folder of the tables; the name of the table is relative to it.

    Raises:
        TableError: The file has faults; all of them are in the message.
    """
    return _Reader(path, root).table()


def identifier(key: str) -> str:
    """Return the id that a key of the file stands for.

    >>> identifier("Random-K (ours)")
    'random-k-ours'
    """
    return re.sub(r"[^a-z0-9.%_-]+", "-", key.lower()).strip("-")


class _Reader:
    """One file on its way to a table; faults are gathered, not raised, until all of it was seen."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        inside = path.is_relative_to(root)
        self.name = path.relative_to(root).with_suffix("").as_posix() if inside else f"{path.parent.name}/{path.stem}"
        self.document = yaml_lines.parse(path, TableError)
        self.faults: list[tuple[int, str]] = list(self.document.faults)
        self.stages: tuple[StageSpec, ...] = ()
        self.rows: dict[str, Row] = {}  # by the key in the file, as the columns
        self.columns: dict[str, Column] = {}

    def table(self) -> Table:
        """Return the table.

        Raises:
            TableError: All faults.
        """
        content = self.document.values
        if not isinstance(content, dict):
            raise TableError(
                f"{places.shown(self.path)} is not a table: keys such as metric, rows, columns are expected."
            )
        own = self.part(TablePart, content, (), "") or TablePart.model_construct(**sound(content))
        paper = (self.part(PaperPart, own.paper, ("paper",), "paper") if own.paper else None) or PaperPart(title="")
        self.stages = self.declared(own.stages)
        self.columns = {key: self.column(key, value) for key, value in own.columns.items()}
        self.rows = {key: self.row(key, value, paper.runs) for key, value in own.rows.items()}
        self.unique("row", self.rows)
        self.unique("column", self.columns)
        self.seeds(own.seeds, ("seeds",), "seeds")
        self.drawn(own)
        table = Table(
            name=self.name,
            path=self.path,
            title=own.title or paper.title,
            paper=paper.plain(),
            metric=own.metric,
            seeds=tuple(own.seeds),
            stages=self.stages,
            rows=tuple(self.rows.values()),
            columns=tuple(self.columns.values()),
            tolerance=own.tolerance,
            gate=own.gate,
            baseline=self.lookup(own.baseline, self.rows, ("baseline",), "baseline", "row") if own.baseline else None,
            higher_is_better=own.higher_is_better,
            note=own.note,
            claims=self.claims(own.claims),
            accepted=self.accepted(own.accepted),
            accepted_reasons=self.reasons(own.accepted_reasons),
            scales=self.scales(own.scales),
            drawing=None if own.draw is None else own.draw.plain(),
        )
        self.meetings(table)
        self.finish()
        return table

    def finish(self) -> None:
        """Raise all faults, in the order of the file."""
        if self.faults:
            ordered = [f"line {line}: {what}" for line, what in sorted(self.faults, key=lambda one: one[0])]
            count = f"{len(ordered)} fault{'s' if len(ordered) != 1 else ''}"
            raise TableError("\n  ".join([f"{places.shown(self.path)} has {count}:", *ordered]))

    def fault(self, at: tuple[str, ...], where: str, what: str) -> None:
        """Note a fault: path of keys for the line, then where in words, and what."""
        self.faults.append((self.document.line(*at), f"{where}: {what}" if where else what))

    def part(
        self, model: type[Part], content: Any, at: tuple[str, ...], where: str, also: Iterable[str] = ()
    ) -> Part | None:
        if not isinstance(content, Mapping):
            self.fault(at, where, f"keys and values were expected, not {content!r:.80}")
            return None
        part, faults = check(model, {key: value for key, value in content.items() if value is not None}, also)
        for below, what in faults:
            self.fault((*at, *below), where, what)
        return part

    def declared(self, stages: Mapping[str, Any]) -> tuple[StageSpec, ...]:
        """Return the table's stages, before any row or column."""
        self.stages = tuple(StageSpec(name, name, "") for name in stages)  # their names are needed to check ``from``
        return tuple(self.declare(name, value) for name, value in stages.items())

    def declare(self, name: str, value: Any) -> StageSpec:
        at, where = ("stages", name), f"stage {name}"
        if name in (*RowPart.model_fields, *ColumnPart.model_fields):
            self.fault(at, where, f"rows and columns have a key {name}, so a stage cannot be called that")
        own = self.setting(value, at, where)
        kind = own.get("kind", name)
        if "kind" not in own:
            self.part(StagePart, {"kind": kind}, at, where)
        return StageSpec(
            name=name,
            kind=str(kind),
            config=str(own.get("config", "")),
            overrides={key: item for key, item in own.items() if key not in SETTINGS},
            seeds=tuple(own["seeds"]) if isinstance(own.get("seeds"), list) else None,
            parents=tuple(_strings(own.get("from"))),
            cost=own.get("cost"),
        )

    def setting(self, value: Any, at: tuple[str, ...], where: str) -> dict[str, Any]:
        """Return what a row, a column or the table sets in one stage, with dotted keys."""
        if not isinstance(value, Mapping):
            self.fault(at, where, f"keys and values were expected, not {value!r:.80}")
            return {}
        own = {key: item for key, item in value.items() if key in SETTINGS}
        self.part(StagePart, own, at, where)
        self.parents(_strings(own.get("from")), at, where)
        if isinstance(own.get("seeds"), list):
            self.seeds(own["seeds"], (*at, "seeds"), where)
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if key in SETTINGS:
                continue
            if "." not in key and not isinstance(item, Mapping):
                # Every recipe key lies in a section, so this is a key of the stage, misspelt.
                near = did_you_mean(key, SETTINGS)
                self.fault((*at, key), where, f"unknown key {key}. {near} A recipe's own keys have dots: data.{key}.")
            plain |= flatten({key: item})
        return own | plain

    def parents(self, named: list[str], at: tuple[str, ...], where: str) -> None:
        """Check that ``from`` names stages that stand before this one; ``at`` ends in the stage's name."""
        names = [spec.name for spec in self.stages]
        earlier = names[: names.index(at[-1])]
        for parent in named:
            if parent not in earlier:
                what = "stands after it" if parent in names else did_you_mean(parent, earlier)
                self.fault((*at, "from"), where, f"starts from {parent}, which is no earlier stage: {what}")

    def settings(self, extra: Mapping[str, Any], at: tuple[str, ...], where: str) -> dict[str, dict[str, Any]]:
        return {stage: self.setting(value, (*at, stage), f"{where}: {stage}") for stage, value in extra.items()}

    def column(self, key: str, value: Any) -> Column:
        at, where = ("columns", key), f'column "{key}"'
        own, extra = self.split(value, ColumnPart, at, where)
        self.skipped(own.skip, extra, at, where)
        return Column(
            id=own.id or identifier(key),
            label=own.label or key,
            group=own.group,
            metric=own.metric,
            tolerance=own.tolerance,
            not_runnable=own.not_runnable,
            note=own.note,
            gate=own.gate,
            machine=tuple(own.machine),
            skip=tuple(own.skip),
            stages=self.settings(extra, at, where),
        )

    def row(self, key: str, value: Any, runs: int | None) -> Row:
        at, where = ("rows", key), f'row "{key}"'
        own, extra = self.split(value, RowPart, at, where)
        self.skipped(own.skip, extra, at, where)
        if own.cited and (extra or own.skip):
            self.fault(at, where, "is cited, so it is not run: it can have no stages of its own")
        runs = own.runs or (None if own.cited else runs)
        return Row(
            id=own.id or identifier(key),
            label=own.label or key,
            group=own.group,
            cited=own.cited,
            not_runnable=own.not_runnable,
            published=own.published,
            paper=self.numbers(own.paper, (*at, "paper"), where, runs),
            corrected=self.numbers(own.corrected, (*at, "corrected"), f"{where}, corrected", runs),
            note=own.note,
            source=own.source,
            gate=own.gate,
            skip=tuple(own.skip),
            stages=self.settings(extra, at, where),
        )

    def skipped(self, skip: list[str], extra: Mapping[str, Any], at: tuple[str, ...], where: str) -> None:
        """Check that what a row or a column skips are stages, and none that it sets."""
        names = [spec.name for spec in self.stages]
        for stage in skip:
            if stage not in names:
                self.fault((*at, "skip"), where, f"skips stage {stage}. {did_you_mean(stage, names)}")
            elif stage in extra:
                self.fault((*at, stage), where, f"sets stage {stage}, which it skips")

    def split(self, value: Any, model: type[Part], at: tuple[str, ...], where: str) -> tuple[Part, dict[str, Any]]:
        """Return a row's or column's own part, and what it sets in stages."""
        names = [spec.name for spec in self.stages]
        content = {} if value is None else value
        if not isinstance(content, Mapping):
            self.fault(at, where, f"keys and values were expected, not {content!r:.80}")
            content = {}
        extra = {key: item for key, item in content.items() if key in names}
        own = {key: item for key, item in content.items() if key not in extra}
        return self.part(model, own, at, where, names) or model.model_construct(**fitting(model, own)), extra

    def numbers(self, values: Any, at: tuple[str, ...], where: str, runs: int | None = None) -> dict[str, Number]:
        """Return printed numbers by column id; ``runs`` counts for those with a spread, which one run does not have."""
        found: dict[str, Number] = {}
        if not isinstance(values, Mapping):
            self.fault(at, where, f"columns and numbers were expected, not {values!r:.80}")
            return found
        for key in values:
            column = self.lookup(key, self.columns, (*at, key), where, "column")
            try:
                number = Number.parse(self.document.texts.get((*at, key), str(values[key])))
            except ValueError as error:
                self.fault((*at, key), f'{where}, column "{key}"', str(error))
                continue
            if column is not None:
                found[column] = replace(number, runs=number.runs or (runs if number.spread is not None else None))
        return found

    def lookup(
        self, key: str, known: Mapping[str, Row] | Mapping[str, Column], at: tuple[str, ...], where: str, noun: str
    ) -> str | None:
        """Return the id that a key or an id means."""
        ids = {item.id: item.id for item in known.values()} | {name: item.id for name, item in known.items()}
        if key not in ids:
            self.fault(at, where, f"there is no {noun} {key}. {did_you_mean(key, ids)}")
        return ids.get(key)

    def drawn(self, own: TablePart) -> None:
        """Check that a figure's kind of drawing exists, and that what is no figure has a metric."""
        if own.draw is None:
            if not own.metric:
                self.fault(("metric",), "", "metric is missing")
        elif own.draw.kind not in drawings():
            file, near = f"repro/figures/{own.draw.kind}.py", did_you_mean(own.draw.kind, drawings())
            self.fault(("draw", "kind"), "draw", f"there is no {file}. {near}")

    def claims(self, claims: list[Any]) -> tuple[Claim, ...]:
        made: list[Claim] = []
        for index, content in enumerate(claims):
            at = ("claims", str(index))
            where = f"claim {content.get('id', index + 1) if isinstance(content, dict) else index + 1}"
            if own := self.part(ClaimPart, content, at, where):
                made.append(self.claim(own, at, where))
                if own.id in [other.id for other in made[:-1]]:
                    self.fault(at, where, "there are two claims of this id")
        return tuple(made)

    def claim(self, own: ClaimPart, at: tuple[str, ...], where: str) -> Claim:
        if (own.above is None) == (own.below is None):
            self.fault(at, where, "give one bound, above or below")
        expr, there = own.expr, (*at, "expr")
        return Claim(
            id=own.id,
            text=own.text,
            row=self.lookup(expr.row, self.rows, there, where, "row") or "",
            minus=self.lookup(expr.minus, self.rows, there, where, "row") if expr.minus else None,
            column=self.lookup(expr.column, self.columns, there, where, "column") or "",
            above=own.above,
            below=own.below,
            metric=own.metric,
            source=own.source,
            gate=own.gate,
        )

    def accepted(self, scales: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Number]]]:
        found: dict[str, dict[str, dict[str, Number]]] = {}
        for scale, by_row in scales.items():
            where = f"accepted at scale {scale}"
            self.scale(scale, ("accepted", scale), "accepted")
            found[scale] = {}
            for key, cells in (by_row if isinstance(by_row, Mapping) else {}).items():
                at = ("accepted", scale, key)
                row = self.lookup(key, self.rows, at, where, "row")
                numbers = self.numbers(cells, at, f'{where}, row "{key}"')
                if row is not None:
                    found[scale][row] = numbers
        return found

    def reasons(self, reasons: list[Any]) -> tuple[Accepted, ...]:
        made = []
        for index, content in enumerate(reasons):
            at, where = ("accepted_reasons", str(index)), f"accepted_reasons {index + 1}"
            if own := self.part(ReasonPart, content, at, where):
                self.scale(own.scale, at, where)
                made.append(Accepted(own.scale, str(own.date), own.reason))
        return tuple(made)

    def scales(self, scales: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        made = {}
        for scale, content in scales.items():
            at, where = ("scales", scale), f"scale {scale}"
            self.scale(scale, at, "scales")
            if own := self.part(ScalePart, content, at, where):
                self.seeds(own.seeds, (*at, "seeds"), where)
                made[scale] = tuple(own.seeds)
        return made

    def scale(self, scale: str, at: tuple[str, ...], where: str) -> None:
        if scale not in SCALES:
            self.fault(at, where, f"there is no scale {scale}. {did_you_mean(scale, SCALES)}")

    def seeds(self, seeds: list[int], at: tuple[str, ...], where: str) -> None:
        if len({str(seed) for seed in seeds}) < len(seeds):
            self.fault(at, where, "a seed is listed twice")

    def unique(self, noun: str, items: Mapping[str, Row] | Mapping[str, Column]) -> None:
        seen: dict[str, str] = {}
        for key, item in items.items():
            at, where = (f"{noun}s", key), f'{noun} "{key}"'
            if not item.id:
                self.fault(at, where, "no id can be made of its key; give it one with id:")
            elif item.id in seen:
                self.fault(
                    at, where, f'has the id {item.id}, as has "{seen[item.id]}"; give one of them another with id:'
                )
            seen[item.id] = key

    def meetings(self, table: Table) -> None:
        """Check what only shows where a row meets a column: settings of both, stages without a recipe, metrics."""
        runnable = set(table.runnable_cells())
        without: dict[str, list[str]] = {}
        unknown: set[str] = set()
        for key, row in self.rows.items():
            for column in self.columns.values():
                where = f'row "{row.label}", column "{column.label}"'
                for stage, setting in clashes(row, column):
                    self.fault(("rows", key, stage), where, f"{stage}: both set {setting}")
                for spec in table.cell_stages(row.id, column.id):
                    if not spec.config:
                        without.setdefault(spec.name, []).append(where)
                metric = column.metric or table.metric
                if metric and (row.id, column.id) in runnable and metric.partition(".")[0] not in metrics():
                    unknown.add(metric)
        for name, cells in without.items():
            more = f" (and {len(cells) - 1} more)" if len(cells) > 1 else ""
            self.fault(("stages", name), cells[0] + more, f"stage {name} has no config")
        for metric in sorted(unknown):
            file = metric.partition(".")[0]
            near = did_you_mean(file, metrics())
            self.fault(("metric",), "", f"metric {metric}: there is no repro/evaluation/{file}.py. {near}")


@functools.cache
def metrics() -> list[str]:
    """Return the files of ``repro/evaluation``, which are the metrics there are; none of them is imported."""
    return sorted(path.stem for path in (places.PACKAGE / "evaluation").glob("[!_]*.py"))


@functools.cache
def drawings() -> list[str]:
    """Return the files of ``repro/figures``, which are the kinds of drawings there are; none of them is imported."""
    return sorted(path.stem for path in (places.PACKAGE / "figures").glob("[!_]*.py"))


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
