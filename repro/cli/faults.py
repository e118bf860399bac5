"""Everything that is wrong with what is declared: tables, their recipes at each scale, clusters, nightly lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from repro.cli import names, output, plan_files
from repro.errors import DataError, ReproError, UnknownDataError, did_you_mean

if TYPE_CHECKING:
    from repro.harness.nightly import Task
    from repro.harness.plan import Resolve, Resolved
    from repro.harness.table import Table

T = TypeVar("T")


@dataclass
class Report:
    """What was looked at, and what was found.

    Attributes:
        faults: Messages, each naming its file.
        absent: Data sets that are not on this machine, which is no fault of the tables that name them.
    """

    tables: list[str] = field(default_factory=list)
    plans: int = 0
    clusters: list[str] = field(default_factory=list)
    nightly: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    def looked_at(self) -> str:
        """Return what was looked at, in words."""
        parts = [output.counted(len(self.tables), "table")]
        parts += [f"their recipes ({output.counted(self.plans, 'plan')})"] if self.plans else []
        parts += [output.counted(len(self.clusters), "cluster file"), output.counted(len(self.nightly), "nightly list")]
        return ", ".join(parts)

    def text(self) -> str:
        """Return all faults in one message."""
        return "\n".join([*self.faults, f"That is all that is wrong in {self.looked_at()}."])

    def trying(self, function: Callable[[], T]) -> T | None:
        """Return what ``function`` returns; an error that a user can mend is noted, and None returned."""
        try:
            return function()
        except ReproError as error:
            if str(error) not in self.faults:
                self.faults.append(str(error))
            return None


def find(tables: Iterable[str] | None, scales: Iterable[str], cluster: str | None = None) -> Report:
    """Look for faults.

    Args:
        tables: Full names; None for all tables, and then also for all clusters and nightly lists.
        scales: At which the recipes are resolved; none leaves recipes alone.
        cluster: A cluster that must also be usable from this machine.
    """
    from repro.harness import places, table

    report = Report(tables=table.names(places.benchmarks()) if tables is None else list(tables))
    if not report.tables:
        report.faults.append(f"{places.benchmarks()} holds no table: <paper>/table<N>.yaml was looked for.")
    loaded = [report.trying(lambda name=name: table.load(name, places.benchmarks())) for name in report.tables]  # type: ignore[misc]
    sound = [one for one in loaded if one is not None]
    _check_recipes(report, sound, tuple(scales))
    _check_drawings(report, sound)
    if tables is None:
        _check_clusters(report)
        _check_nightly(report, {one.name: one for one in loaded if one is not None}, places.benchmarks() / "nightly")
    if cluster is not None:
        _check_here(report, cluster)
    return report


def _check_recipes(report: Report, tables: list[Table], scales: tuple[str, ...]) -> None:
    from repro.harness import plan as planning

    if not scales:
        return
    resolve = _without_data(plan_files.resolver(), report)
    for table in tables:
        for scale in scales:
            report.plans += 1
            report.trying(lambda table=table, scale=scale: planning.plan(table, resolve, scale))  # type: ignore[misc]


def _check_drawings(report: Report, tables: list[Table]) -> None:
    """Check what figures set for their kinds of drawing; only a figure makes this import the drawings."""
    for table in tables:
        if table.drawing is not None:
            from repro import figures

            report.trying(lambda table=table: figures.load(table))  # type: ignore[misc]


def _without_data(resolve: Resolve, report: Report) -> Resolve:
    """Return a resolver that notes what data sets are absent, instead of raising."""

    def noting(config: str, overrides: Mapping[str, Any], scale: str) -> Resolved:
        from repro.harness.plan import Resolved

        try:
            return resolve(config, overrides, scale)
        except UnknownDataError:
            raise
        except DataError as error:
            if str(error) not in report.absent:
                report.absent.append(str(error))
            return Resolved({"config": config, "overrides": dict(overrides)}, {})

    return noting


def _check_clusters(report: Report) -> None:
    from repro.harness import cluster

    report.clusters = cluster.names()
    for name in report.clusters:
        report.trying(lambda name=name: cluster.load(name))  # type: ignore[misc]


def _check_here(report: Report, name: str) -> None:
    from repro.harness import cluster

    loaded = report.trying(lambda: cluster.load(name))
    if loaded is not None:
        report.faults += cluster.check(loaded)


def _check_nightly(report: Report, tables: dict[str, Table], folder: Path) -> None:
    from repro.harness import cluster, nightly

    report.nightly = nightly.names(folder)
    for name in report.nightly:
        listed = report.trying(lambda name=name: nightly.load(name, folder))  # type: ignore[misc]
        if listed is None:
            continue
        faults = [fault for task in listed.tables for fault in _task_faults(task, report, tables)]
        if listed.cluster not in cluster.names():
            faults.append(f"there is no cluster {listed.cluster!r}. {did_you_mean(listed.cluster, cluster.names())}")
        report.faults += [f"{folder / name}.yaml: {fault}" for fault in faults]


def _task_faults(task: Task, report: Report, tables: dict[str, Table]) -> list[str]:
    if task.table not in report.tables:
        return [f"there is no table {task.table!r}. {did_you_mean(task.table, report.tables)}"]
    faults = []
    if task.scale not in names.SCALES:
        faults.append(f"{task.table}: there is no scale {task.scale!r}. {did_you_mean(task.scale, names.SCALES)}")
    if task.table in tables:
        try:
            names.select(tables[task.table], task.rows, task.columns, task.seeds)
        except ReproError as error:
            faults.append(str(error))
    return faults
