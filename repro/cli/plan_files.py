"""Plans, made and read. The file of a scale always holds the whole table; a verb asked for a part looks at a part.

So a run of two rows neither hides the results of the others nor makes the table's plan forget them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from repro.cli.names import Selection
from repro.errors import PlanError

if TYPE_CHECKING:
    from repro.harness.plan import Plan, Resolve, Resolved
    from repro.harness.table import Table


def folder() -> Path:
    """Return where plans lie."""
    from repro.harness import places

    return places.results() / "plans"


def records() -> Path:
    """Return where records lie."""
    from repro.harness import places

    return places.results() / "records"


def figures() -> Path:
    """Return where figures are drawn."""
    from repro.harness import places

    return places.results() / "figures"


def resolver() -> Resolve:
    """Return the engine's function that resolves recipes; equal questions are asked once."""
    from repro.engine.config import resolve

    seen: dict[str, Resolved] = {}

    def remembering(config: str, overrides: Mapping[str, Any], scale: str) -> Resolved:
        key = json.dumps([config, overrides, scale], sort_keys=True, default=str)
        if key not in seen:
            seen[key] = resolve(config, overrides, scale)
        return seen[key]

    return remembering


class Planned(NamedTuple):
    """A plan of the whole table, the part of it that was selected, and the file of the whole if it was just written."""

    whole: Plan
    part: Plan
    path: Path | None = None


def make(table: Table, scale: str, selection: Selection) -> Planned:
    """Plan ``table`` afresh and write its file.

    Raises:
        PlanError: recipes do not resolve (all faults in one message), or nothing that was selected can be run.
    """
    from repro.harness import plan as planning

    resolve = resolver()
    whole = planning.plan(table, resolve, scale)
    seeds = {cell.seed for cell in whole.cells}
    if more := sorted(set(selection.seeds or ()) - seeds):
        # For what was selected only: other cells do not lack a seed because one cell got one more.
        extra = planning.plan(table, resolve, scale, selection.rows, selection.columns, more)
        stages = whole.stages | {name: stage for name, stage in extra.stages.items() if name not in whole.stages}
        whole = dataclasses.replace(whole, stages=stages, cells=whole.cells + extra.cells)
    part = narrow(whole, table, selection)
    return Planned(whole, part, planning.write(whole, folder()))


def stored(table: Table, scale: str, selection: Selection | None = None, *, results: Path | None = None) -> Planned:
    """Read the table's plan file.

    Raises:
        PlanError: there is none, it is older than the table, or it has nothing of what was selected.
    """
    from repro.harness import plan as planning

    whole = planning.read(table.name, scale, results / "plans" if results else folder())
    planning.ensure_fresh(whole, table)
    return Planned(whole, narrow(whole, table, selection or Selection()))


def glance(name: str, scale: str) -> Plan | None:
    """Return the plan of a table called ``name``, fresh or stale; None where there is none that can be read."""
    from repro.harness import plan as planning

    try:
        return planning.read(name, scale, folder())
    except PlanError:
        return None


def fresh(plan: Plan, table: Table) -> bool:
    """Return whether a plan was made from the table as it is now."""
    from repro.harness import plan as planning

    try:
        planning.ensure_fresh(plan, table)
    except PlanError:
        return False
    return True


def narrow(whole: Plan, table: Table, selection: Selection) -> Plan:
    """Return the selected cells of a plan, with the stages that lead to them.

    Raises:
        PlanError: no cell is left.
    """
    part = whole.select(selection.rows, selection.columns, selection.seeds)
    if not part.cells:
        raise PlanError(f"nothing of{selection.options() or ' it'} can be run: {_why_empty(whole, table, selection)}")
    return part


def _why_empty(whole: Plan, table: Table, selection: Selection) -> str:
    for row in table.rows:
        if selection.rows is not None and row.id in selection.rows:
            if row.cited:
                return f"row {row.id} is only quoted by the paper"
            if reason := row.waits_for(whole.scale):
                return f"row {row.id}: {reason}"
    for column in table.columns:
        if selection.columns is not None and column.id in selection.columns and column.not_runnable:
            return f"column {column.id}: {column.not_runnable}"
    if not whole.cells:
        reasons = [row.waits_for(whole.scale) for row in table.rows]
        reasons += [column.not_runnable for column in table.columns]
        return "\n  ".join(["all of it is quoted or not runnable yet", *dict.fromkeys(filter(None, reasons))])
    seeds = ", ".join(str(seed) for seed in sorted({cell.seed for cell in whole.cells}))
    return f"the plan of scale {whole.scale} has seeds {seeds}; run `repro plan {table.name}` to see its cells"
