"""From what a user types to what is meant: tables, cells, lists of rows, columns and seeds, scales, clusters."""

from __future__ import annotations

import fnmatch
import functools
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repro.cli import output
from repro.errors import ReproError, TableError, did_you_mean

if TYPE_CHECKING:
    from repro.harness.cluster import Cluster
    from repro.harness.table import Column, Row, Table

SCALES = ("paper", "small", "tiny", "smoke")


@dataclass(frozen=True)
class Selection:
    """Part of a table, by ids. None means all."""

    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None

    def __bool__(self) -> bool:
        return not (self.rows is None and self.columns is None and self.seeds is None)

    def holds(self, row: str, column: str) -> bool:
        """Return whether a cell is selected, whatever its seed."""
        return all(chosen is None or one in chosen for chosen, one in ((self.rows, row), (self.columns, column)))

    def options(self) -> str:
        """Return the options that select the same again, with a space in front; empty for a whole table."""
        given = {"--rows": self.rows, "--columns": self.columns, "--seeds": self.seeds}
        return "".join(f" {name} {','.join(map(str, ids))}" for name, ids in given.items() if ids is not None)


@functools.cache
def settings() -> Mapping[str, Any]:
    """Return ``[tool.repro]`` of the project's pyproject.toml; empty where there is none."""
    from repro.harness import places

    path = places.project_root() / "pyproject.toml"
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        content: dict[str, Any] = tomllib.load(file).get("tool", {}).get("repro", {})
    return content


def table_name(name: str) -> str:
    """Return the full name of the table that ``name`` means; on standard error it says what was taken, if unclear.

    Raises:
        TableError: there is no such table; the nearest is named.
    """
    from repro.harness import places, table

    paper = os.environ.get("REPRO_PAPER") or settings().get("default_paper")
    full, said = table.resolve_name(name, places.benchmarks(), paper)
    if said:
        output.remark(said)
    return full


def load_table(name: str) -> Table:
    """Return the table that ``name`` means.

    Raises:
        TableError: there is no such table, or it has faults.
    """
    from repro.harness import places, table

    return table.load(table_name(name), places.benchmarks())


def cell(address: str) -> tuple[Table, Row, Column]:
    """Return what an address like ``detreg/table5/detreg/1%`` means; the paper may be left out.

    Raises:
        TableError: the address lacks a part, or a part of it does not exist.
    """
    parts = address.rsplit("/", 2)
    if len(parts) != 3 or not all(parts):
        raise TableError(f"{address!r} is no cell: write TABLE/ROW/COLUMN, as in detreg/table5/detreg/1%")
    table = load_table(parts[0])
    rows = _select(parts[1], [(row.id, row.label) for row in table.rows], "row", table.name)
    columns = _select(parts[2], [(column.id, column.label) for column in table.columns], "column", table.name)
    return table, table.row(rows[0]), table.column(columns[0])


def select(
    table: Table,
    rows: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    seeds: str | Sequence[int] | None = None,
) -> Selection:
    """Return the part of ``table`` that lists like ``swav,det*`` and ``42,43`` or ``42-44`` name.

    Raises:
        TableError: a name or a pattern fits nothing, or a seed is no number; all faults in one message.
    """
    faults: list[str] = []

    def chosen(
        wanted: str | Sequence[str] | None, known: Iterable[tuple[str, str]], what: str
    ) -> tuple[str, ...] | None:
        if wanted is None:
            return None
        found: dict[str, None] = {}
        for name in _listed(wanted):
            try:
                found |= dict.fromkeys(_select(name, list(known), what, table.name))
            except TableError as error:
                faults.append(str(error))
        return tuple(id for id, _ in known if id in found)

    selection = Selection(
        rows=chosen(rows, [(row.id, row.label) for row in table.rows], "row"),
        columns=chosen(columns, [(column.id, column.label) for column in table.columns], "column"),
        seeds=None if seeds is None else _seeds(seeds, faults),
    )
    if faults:
        raise TableError("\n".join(faults))
    return selection


def scale(name: str | None) -> str:
    """Return the scale to use: the one named, or ``REPRO_SCALE``, or the project's default, or the paper's.

    Raises:
        ReproError: there is no such scale.
    """
    chosen = name or os.environ.get("REPRO_SCALE") or str(settings().get("default_scale") or SCALES[0])
    if chosen not in SCALES:
        raise ReproError(f"there is no scale {chosen!r}. {did_you_mean(chosen, SCALES)}")
    return chosen


def cluster_name(name: str | None) -> str:
    """Return the cluster to use: the one named, or ``REPRO_CLUSTER``, or the project's default, or ``local``."""
    return name or os.environ.get("REPRO_CLUSTER") or str(settings().get("default_cluster") or "local")


def load_cluster(name: str | None) -> Cluster:
    """Return the cluster to use.

    Raises:
        ClusterError: there is no such cluster, or its file has faults.
    """
    from repro.harness import cluster

    return cluster.load(cluster_name(name))


def _select(wanted: str, known: Sequence[tuple[str, str]], what: str, table: str) -> list[str]:
    """Return the ids that a name, a printed label or a pattern means."""
    exact = [id for id, label in known if wanted in (id, label)] or [
        id for id, label in known if wanted.casefold() in (id.casefold(), label.casefold())
    ]
    found = exact[:1] or [id for id, _ in known if fnmatch.fnmatchcase(id, wanted.lower())]
    if not found:
        raise TableError(f"{table} has no {what} {wanted!r}. {did_you_mean(wanted, [id for id, _ in known])}")
    return found


def _listed(wanted: str | Sequence[Any]) -> list[str]:
    parts = wanted.split(",") if isinstance(wanted, str) else [str(one) for one in wanted]
    return [part.strip() for part in parts if part.strip()]


def _seeds(wanted: str | Sequence[int], faults: list[str]) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for part in _listed(wanted):
        first, dash, last = part.partition("-")
        if first.isdigit() and (last.isdigit() if dash else True):
            found |= dict.fromkeys(range(int(first), int(last or first) + 1))
        else:
            faults.append(f"{part!r} is no seed: write numbers, as in 42,43 or 42-44")
    return tuple(found)
