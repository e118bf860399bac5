"""Reads and checks a table's YAML: every fault at once, each with its row, its column and the nearest right key.

What PyYAML would accept silently is a fault here: a key given twice (it would take the last), a key that nothing reads
(a misspelt one), a setting that row and column both make.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from repro.errors import TableError, collect, did_you_mean
from repro.harness.table import GATES, KINDS, Claim, Column, Number, Paper, Row, StageSpec, Table

ID = re.compile(r"[a-z0-9.%_-]+")
METRIC = re.compile(r"[a-z0-9_]+\.[A-Za-z0-9_@.-]+")

TABLE_KEYS = [
    "paper",
    "title",
    "metric",
    "tolerance",
    "seeds",
    "gate",
    "baseline",
    "stages",
    "columns",
    "rows",
    "claims",
    "accepted",
    "accepted_reasons",
    "scales",
    "higher_is_better",
    "note",
]
PAPER_KEYS = ["title", "arxiv", "table", "as_of", "runs", "source"]
STAGE_KEYS = ["config", "kind", "seeds", "from"]
ROW_KEYS = ["id", "label", "paper", "corrected", "cited", "not_runnable", "skip", "gate", "group", "note", "source"]
COLUMN_KEYS = ["id", "label", "group", "metric", "not_runnable", "gate", "tolerance", "note"]
CLAIM_KEYS = ["id", "text", "metric", "expr", "above", "below", "source", "gate"]
SCALES = ("paper", "small", "tiny", "smoke")


def parse(path: Path, name: str) -> Table:
    """Read one file.

    Args:
        path: the YAML file.
        name: what the table is called, such as ``detreg/table5``.

    Raises:
        TableError: all faults in one message.
    """
    return _Reader(path, name).table()


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} is given twice, first in line {seen[key]}", problem_mark=key_node.start_mark
                )
            seen[key] = line
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        TableError: it is not YAML, repeats a key, or holds something else; the line is named.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise TableError(f"{path}:{line}: {error.problem or error.context}") from None
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not UTF-8 text: {error}") from None
    if not isinstance(content, dict):
        raise TableError(f"{path} must hold a mapping, not {type(content).__name__}.")
    return content


class _Reader:
    """Collects faults while it reads; nothing is raised before the end."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.faults: list[str] = []
        self.raw = read_yaml(path)
        self.runs: int | None = None

    def table(self) -> Table:
        raw = self.raw
        self.keys(raw, TABLE_KEYS, "")
        paper = self.paper()
        stages = self.stages()
        columns = self.columns(stages)
        rows = self.rows(stages, columns)
        seeds = self.integers(raw.get("seeds", [0]), "seeds")
        metric = self.metric(raw.get("metric"), "")
        if raw.get("baseline") is not None and self.id_of(raw["baseline"]) not in [row.id for row in rows]:
            self.fault("baseline", f"there is no row {raw['baseline']!r}", [row.label for row in rows])
        self.clashes(rows, columns)
        table = Table(
            name=self.name,
            path=self.path,
            title=str(raw.get("title") or (paper.title if paper else "")),
            paper=paper,
            metric=metric,
            seeds=seeds,
            stages=stages,
            columns=columns,
            rows=rows,
            tolerance=self.float(raw.get("tolerance", 0.0), "tolerance"),
            gate=self.gate(raw.get("gate", "B"), "gate") or "B",
            baseline=None if raw.get("baseline") is None else self.id_of(raw["baseline"]),
            claims=self.claims(rows, columns),
            accepted=self.accepted(rows, columns),
            scales=self.scales(),
            higher_is_better=self.boolean(raw.get("higher_is_better", True), "higher_is_better"),
            note=raw.get("note"),
        )
        collect(self.faults, str(self.path), TableError)
        return table

    # Parts of the file, in its order.

    def paper(self) -> Paper:
        raw = self.mapping(self.raw.get("paper"), "paper", required=True)
        self.keys(raw, PAPER_KEYS, "paper")
        if "title" not in raw:
            self.fault("paper", "has no title")
        runs = raw.get("runs")
        if runs is not None and not (isinstance(runs, int) and runs > 0):
            self.fault("paper.runs", f"{runs!r} is not a count of runs")
            runs = None
        self.runs = runs
        texts = {key: None if raw.get(key) is None else str(raw[key]) for key in PAPER_KEYS if key != "runs"}
        return Paper(**{**texts, "title": texts["title"] or ""}, runs=runs)  # type: ignore[arg-type]

    def stages(self) -> tuple[StageSpec, ...]:
        specs: list[StageSpec] = []
        for name, settings in self.mapping(self.raw.get("stages"), "stages", required=True).items():
            where = f"stage {name}"
            raw = self.mapping(settings, where, required=True)
            self.keys(raw, STAGE_KEYS, where)
            kind = str(raw.get("kind", name))
            if kind not in KINDS:
                self.fault(where, f"there is no kind {kind!r}", KINDS)
            if "config" not in raw:
                self.fault(where, "names no config")
            earlier = [spec.name for spec in specs]
            parents = tuple(self.texts(raw.get("from", []), f"{where}, from"))
            for parent in parents:
                if parent not in earlier:
                    self.fault(where, f"starts from {parent!r}, which does not stand before it", earlier)
            seeds = None if raw.get("seeds") is None else self.integers(raw["seeds"], f"{where}, seeds")
            specs.append(StageSpec(str(name), kind, str(raw.get("config", "")), seeds=seeds, parents=parents))
        return tuple(specs)

    def columns(self, stages: tuple[StageSpec, ...]) -> tuple[Column, ...]:
        columns: list[Column] = []
        for key, settings in self.mapping(self.raw.get("columns"), "columns", required=True).items():
            where = f"column {str(key)!r}"
            raw = self.mapping(settings, where)
            own, settings_of = self.split(raw, COLUMN_KEYS, stages, where)
            columns.append(
                Column(
                    id=self.id_of(own.get("id", key), where),
                    label=str(own.get("label", key)),
                    group=own.get("group"),
                    metric=None if own.get("metric") is None else self.metric(own["metric"], where),
                    stages=settings_of,
                    not_runnable=self.reason(own, where),
                    gate=self.gate(own.get("gate"), where),
                    tolerance=None if own.get("tolerance") is None else self.float(own["tolerance"], where),
                    note=own.get("note"),
                )
            )
        self.unique([column.id for column in columns], "column")
        return tuple(columns)

    def rows(self, stages: tuple[StageSpec, ...], columns: tuple[Column, ...]) -> tuple[Row, ...]:
        rows: list[Row] = []
        for key, settings in self.mapping(self.raw.get("rows"), "rows", required=True).items():
            where = f"row {str(key)!r}"
            raw = self.mapping(settings, where)
            own, settings_of = self.split(raw, ROW_KEYS, stages, where)
            skip = tuple(self.texts(own.get("skip", []), f"{where}, skip"))
            for name in skip:
                if name not in [spec.name for spec in stages]:
                    self.fault(where, f"skips {name!r}, which is no stage", [spec.name for spec in stages])
                if name in settings_of:
                    self.fault(where, f"skips {name} and sets something in it")
            rows.append(
                Row(
                    id=self.id_of(own.get("id", key), where),
                    label=str(own.get("label", key)),
                    paper=self.numbers(own.get("paper"), columns, where),
                    corrected=self.numbers(own.get("corrected"), columns, f"{where}, corrected"),
                    cited=self.boolean(own.get("cited", False), f"{where}, cited"),
                    not_runnable=self.reason(own, where),
                    skip=skip,
                    stages=settings_of,
                    gate=self.gate(own.get("gate"), where),
                    group=own.get("group"),
                    note=own.get("note"),
                    source=own.get("source"),
                )
            )
        self.unique([row.id for row in rows], "row")
        return tuple(rows)

    def claims(self, rows: tuple[Row, ...], columns: tuple[Column, ...]) -> tuple[Claim, ...]:
        claims: list[Claim] = []
        listed = self.raw.get("claims") or []
        if not isinstance(listed, list):
            self.fault("claims", "must be a list")
            return ()
        for index, item in enumerate(listed):
            where = f"claim {item.get('id', index + 1) if isinstance(item, dict) else index + 1}"
            raw = self.mapping(item, where, required=True)
            self.keys(raw, CLAIM_KEYS, where)
            expr = self.mapping(raw.get("expr"), f"{where}, expr", required=True)
            self.keys(expr, ["row", "minus", "column"], f"{where}, expr")
            for key, known in (("row", rows), ("minus", rows), ("column", columns)):
                if expr.get(key) is None and key != "minus":
                    self.fault(where, f"its expr names no {key}")
                elif expr.get(key) is not None and self.id_of(expr[key]) not in [item.id for item in known]:
                    kind = "column" if key == "column" else "row"
                    self.fault(where, f"there is no {kind} {expr[key]!r}", [item.id for item in known])
            if (raw.get("above") is None) == (raw.get("below") is None):
                self.fault(where, "needs a bound: either above or below")
            claims.append(
                Claim(
                    id=self.id_of(raw.get("id", str(index + 1)), where),
                    text=str(raw.get("text", "")),
                    row=self.id_of(expr.get("row", "")),
                    minus=None if expr.get("minus") is None else self.id_of(expr["minus"]),
                    column=self.id_of(expr.get("column", "")),
                    above=None if raw.get("above") is None else self.float(raw["above"], where),
                    below=None if raw.get("below") is None else self.float(raw["below"], where),
                    metric=None if raw.get("metric") is None else self.metric(raw["metric"], where),
                    gate=self.gate(raw.get("gate", "A"), where) or "A",
                    source=raw.get("source"),
                )
            )
        self.unique([claim.id for claim in claims], "claim")
        return tuple(claims)

    def accepted(self, rows: tuple[Row, ...], columns: tuple[Column, ...]) -> dict[str, dict[str, dict[str, Number]]]:
        found: dict[str, dict[str, dict[str, Number]]] = {}
        for scale, by_row in self.mapping(self.raw.get("accepted"), "accepted").items():
            if scale not in SCALES:
                self.fault("accepted", f"there is no scale {scale!r}", SCALES)
            for row, numbers in self.mapping(by_row, f"accepted, {scale}").items():
                where = f"accepted, {scale}, row {row!r}"
                if self.id_of(row) not in [known.id for known in rows]:
                    self.fault(where, "there is no such row", [known.id for known in rows])
                found.setdefault(scale, {})[self.id_of(row)] = self.numbers(numbers, columns, where, counted=False)
        return found

    def scales(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for scale, settings in self.mapping(self.raw.get("scales"), "scales").items():
            if scale not in SCALES:
                self.fault("scales", f"there is no scale {scale!r}", SCALES)
            raw = self.mapping(settings, f"scales, {scale}")
            self.keys(raw, ["seeds"], f"scales, {scale}")
            if "seeds" in raw:
                found[str(scale)] = self.integers(raw["seeds"], f"scales, {scale}, seeds")
        return found

    def clashes(self, rows: tuple[Row, ...], columns: tuple[Column, ...]) -> None:
        """A setting that both a row and a column make has no right value."""
        for row in rows:
            for column in columns:
                if row.cited:
                    continue
                for stage in row.stages.keys() & column.stages.keys():
                    for key in sorted(row.stages[stage].keys() & column.stages[stage].keys()):
                        self.fault(f"row {row.id!r}, column {column.id!r}", f"both set {stage}: {key}")

    # Values.

    def split(
        self, raw: Mapping[str, Any], own: list[str], stages: tuple[StageSpec, ...], where: str
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Keys of the row or column itself, and its settings of stages."""
        names = [spec.name for spec in stages]
        settings: dict[str, dict[str, Any]] = {}
        for key, value in raw.items():
            if key in names:
                settings[key] = dict(self.mapping(value, f"{where}, {key}", required=True))
            elif key not in own:
                self.fault(where, f"nothing reads {key!r}", [*own, *names])
        return {key: value for key, value in raw.items() if key in own}, settings

    def numbers(self, raw: Any, columns: tuple[Column, ...], where: str, counted: bool = True) -> dict[str, Number]:
        """Printed numbers by column; a dash in print is a missing key here."""
        found: dict[str, Number] = {}
        for key, value in self.mapping(raw, where).items():
            id = self.id_of(key)
            if id not in [column.id for column in columns]:
                self.fault(where, f"there is no column {str(key)!r}", [column.id for column in columns])
                continue
            try:
                if isinstance(value, bool):
                    raise ValueError(f"{value!r} is not a number")
                found[id] = Number.parse(value, self.runs if counted else None)
            except ValueError as error:
                self.fault(f"{where}, column {str(key)!r}", str(error))
        return found

    def metric(self, value: Any, where: str) -> str:
        if not isinstance(value, str) or not METRIC.fullmatch(value):
            self.fault(where or "metric", f"{value!r} is not a metric such as coco_box.AP")
            return ""
        return value

    def gate(self, value: Any, where: str) -> str | None:
        if value is not None and value not in GATES:
            self.fault(where, f"there is no gate {value!r}", GATES)
            return None
        return None if value is None else str(value)

    def reason(self, own: Mapping[str, Any], where: str) -> str | None:
        value = own.get("not_runnable")
        if value is not None and (not isinstance(value, str) or not value.strip()):
            self.fault(where, "not_runnable needs a reason in words")
        return value

    def id_of(self, value: Any, where: str | None = None) -> str:
        """Id of a key: lower case, spaces to hyphens."""
        id = re.sub(r"\s+", "-", str(value).strip().lower())
        if where and not ID.fullmatch(id):
            self.fault(where, f"{id!r} cannot be an id (a-z 0-9 . % _ -); give it one with id:")
        return id

    def integers(self, value: Any, where: str) -> tuple[int, ...]:
        if not isinstance(value, list) or not value or not all(type(item) is int for item in value):
            self.fault(where, f"{value!r} is not a list of whole numbers")
            return (0,)
        if len(set(value)) < len(value):
            self.fault(where, f"{value!r} repeats a seed")
        return tuple(value)

    def texts(self, value: Any, where: str) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fault(where, f"{value!r} is not a list of names")
            return []
        return value

    def float(self, value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fault(where, f"{value!r} is not a number")
            return 0.0
        return float(value)

    def boolean(self, value: Any, where: str) -> bool:
        if not isinstance(value, bool):
            self.fault(where, f"{value!r} is neither true nor false")
            return False
        return value

    def mapping(self, value: Any, where: str, required: bool = False) -> dict[str, Any]:
        if value is None and not required:
            return {}
        if not isinstance(value, dict):
            self.fault(where, "must be a mapping" if value is not None else "is missing")
            return {}
        return {str(key): item for key, item in value.items()}

    def keys(self, raw: Mapping[str, Any], known: list[str], where: str) -> None:
        for key in raw:
            if key not in known:
                self.fault(where, f"nothing reads {key!r}", known)

    def unique(self, ids: list[str], kind: str) -> None:
        for id in sorted({id for id in ids if ids.count(id) > 1}):
            self.fault(f"{kind} {id!r}", "occurs twice (ids ignore case; give one of them another with id:)")

    def fault(self, where: str, what: str, known: Iterable[str] | None = None) -> None:
        """Note a fault, with the nearest of what is known where it ends in a wrong name."""
        hint = ""
        if known is not None:
            wrong = re.findall(r"'([^']*)'", what)
            hint = ". " + did_you_mean(wrong[-1] if wrong else where.rpartition(" ")[2].strip("'"), known)
        self.faults.append((f"{where}: " if where else "") + what + hint)
