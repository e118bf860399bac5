"""A table's results beside its numbers, for ``diff``, ``report``, the end of ``run`` and ``repro.diff`` in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from repro.cli import names, output, plan_files
from repro.cli.names import Selection
from repro.errors import ClusterError, FigureError, LaunchError

if TYPE_CHECKING:
    import pandas as pd

    from repro.harness.cluster import Cluster
    from repro.harness.plan import Plan
    from repro.harness.state import StageState
    from repro.harness.table import Table

Against = Literal["paper", "accepted"]


@dataclass(frozen=True)
class Comparison:
    """A table, its plan, and the frame of what was selected."""

    table: Table
    plan: Plan
    frame: pd.DataFrame


def compare(
    name: str,
    scale: str | None = None,
    *,
    rows: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    seeds: str | Sequence[int] | None = None,
    against: Against = "paper",
    cluster: str | None = None,
    results: str | Path | None = None,
) -> Comparison:
    """Compare a table by its plan file and the records; arguments as for `repro.diff`.

    Raises:
        ReproError: see `repro.diff`.
    """
    table = names.load_table(name)
    if not table.metric:
        raise FigureError(f"{table.name} has no numbers to compare; draw it: repro figure {table.name}")
    selection = names.select(table, rows, columns, seeds)
    place = None if results is None else Path(results)
    plan = _plan(table, names.scale(scale), selection, place)
    records = place / "records" if place else plan_files.records()
    return Comparison(table, plan, frame(table, plan, selection, states_of(plan, cluster, records), against, records))


def _plan(table: Table, scale: str, selection: Selection, results: Path | None) -> Plan:
    """Return the stored plan; an empty one where nothing can be run yet, so that its cells show all the same."""
    from repro.harness.plan import Plan

    if not table.runnable_cells(scale):
        return Plan(table.name, table.digest, scale, {}, ())
    return plan_files.stored(table, scale, selection, results=results).whole


def frame(
    table: Table,
    plan: Plan,
    selection: Selection,
    states: Mapping[str, StageState] | None,
    against: Against = "paper",
    records: Path | None = None,
) -> pd.DataFrame:
    """Return the comparison of the selected cells, and of the claims that they decide.

    Args:
        table: The table.
        plan: The whole plan: the spread that a cell is judged by is pooled over all cells of its metric.
        selection: What to show; of the seeds, also what to compare.
        states: State of the plan's stages.
        against: "accepted" sets the paper scale, too, against our own numbers.
        records: Folder of the records; that of the results by default.
    """
    from repro.harness.diff import diff

    if plan.cells:
        plan = plan_files.narrow(plan, table, Selection(seeds=selection.seeds))
    found = diff(table, plan, records or plan_files.records(), states, against)
    if selection.rows is None and selection.columns is None:
        return found
    planned = {(cell.row, cell.column) for cell in plan.cells if selection.holds(cell.row, cell.column)}
    claims = {
        claim.id
        for claim in table.claims
        if all((row, claim.column) in planned for row in (claim.row, claim.minus) if row is not None)
    }
    kept = [
        selection.holds(row, column) if kind == "cell" else row in claims
        for kind, row, column in zip(found["kind"], found["row"], found["column"], strict=True)
    ]
    return found[kept].reset_index(drop=True)


def states_of(plan: Plan, cluster: str | Cluster | None, records: Path | None = None) -> dict[str, StageState]:
    """Return the state of a plan's stages; without a queue that answers, by what lies on the disk alone.

    Raises:
        ClusterError: ``cluster`` names one that does not exist, or has faults.
    """
    from repro.harness import launch, places, state

    records = records or plan_files.records()
    try:
        where = names.load_cluster(cluster) if cluster is None or isinstance(cluster, str) else cluster
    except ClusterError:
        if cluster is not None:
            raise
        return state.survey(plan, places.output_root(), records)
    try:
        return launch.status(plan, where, records=records)
    except LaunchError as error:
        output.remark(f"{where.name}: {error}\nGoing by what lies on the disk.")
        return state.survey(plan, where.output_root, records)


def output_root_of(cluster: str | None) -> Path:
    """Return where the cluster keeps checkpoints and logs; the usual place where there is no cluster file.

    Raises:
        ClusterError: ``cluster`` names one that does not exist, or has faults.
    """
    from repro.harness import places

    try:
        return names.load_cluster(cluster).output_root
    except ClusterError:
        if cluster is not None:
            raise
        return places.output_root()


def all_plans(table: Table) -> list[Plan]:
    """Return the plans that a table has, from paper to smoke; stale ones are left out, with a remark."""
    found = [plan for scale in names.SCALES if (plan := plan_files.glance(table.name, scale)) is not None]
    for plan in found:
        if not plan_files.fresh(plan, table):
            output.remark(f"{table.name} at scale {plan.scale} was planned before the table changed: left out")
    return [plan for plan in found if plan_files.fresh(plan, table)]
