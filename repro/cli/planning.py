"""`repro plan`: what has to run for a table, what of it is shared or done already, why, and what it costs."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import comparison, names, options, output, plan_files, pricing

if TYPE_CHECKING:
    from repro.harness.explain import Explanation
    from repro.harness.plan import Plan
    from repro.harness.table import Table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "plan",
        rich_help_panel="Declare",
        epilog="Example: repro plan detreg/table5 --scale tiny --why",
    )(plan)


def plan(
    table: options.Table,
    scale: options.Scale = None,
    rows: options.Rows = None,
    columns: options.Columns = None,
    seeds: options.Seeds = None,
    why: Annotated[
        bool, typer.Option("--why", help="Say for every stage why it must run, or that it need not.")
    ] = False,
    cluster: options.Cluster = None,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """Work out the stages of a table, write the plan's file, and say what is shared, what is done and what it costs."""
    from repro.harness import explain, library, state

    declared = names.load_table(table)
    selection = names.select(declared, rows, columns, seeds)
    _, made, path = plan_files.make(declared, names.scale(scale), selection)
    states = comparison.states_of(made, cluster)
    todo = state.to_run(made, states, retry=True)
    root = comparison.output_root_of(cluster)
    known = library.load(plan_files.records())
    explained = explain.explain(made, known, states) if why or as_json else []
    summary = {
        "table": made.table,
        "scale": made.scale,
        "file": str(path),
        "cells": len({(cell.row, cell.column) for cell in made.cells}),
        "cited": [row.id for row in declared.rows if row.cited],
        "not_runnable": _not_runnable(declared, made.scale),
        "seeds": sorted({cell.seed for cell in made.cells}),
        "kinds": _kinds(made),
        "states": Counter(one.state for one in states.values()),
        "to_run": todo,
        "disk": _disk(made, root),
        "cost": pricing.priced((made.stages[signature] for signature in todo), known),
    }
    if as_json:
        output.say_json(summary | {"stages": explained})
    else:
        _print(summary, explained, made)


def _kinds(made: Plan) -> list[dict[str, Any]]:
    """Return for each kind of stage how many there are, and how many stages of which kind share one of them."""
    from repro.harness.table import KINDS

    users: dict[str, Counter[str]] = {signature: Counter() for signature in made.stages}
    for stage in made.stages.values():
        for parent in stage.parents.values():
            users[parent][stage.kind] += 1
    found = []
    for kind in KINDS:
        shared = [users[stage.signature].most_common(1) for stage in made.stages.values() if stage.kind == kind]
        by, most = max((one[0] for one in shared if one), key=lambda one: one[1], default=(None, 0))
        if shared:
            found.append({"kind": kind, "stages": len(shared), "most_users": most, "used_by": by})
    return found


def _disk(made: Plan, root: Path) -> dict[str, Any]:
    """Return what the plan's folders take now, and what is free where they lie."""
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
    used = sum(_size(root / signature) for signature in made.stages)
    return {"output_root": str(root), "used_bytes": used, "free_bytes": shutil.disk_usage(nearest).free}


def _size(folder: Path) -> int:
    return sum(
        os.stat(os.path.join(where, name)).st_size  # noqa: PTH116, PTH118 (a Path a file costs as much as the call)
        for where, _, files in os.walk(folder)
        for name in files
    )


def _not_runnable(declared: Table, scale: str) -> dict[str, str]:
    reasons = {row.id: row.waits_for(scale) for row in declared.rows}
    reasons |= {column.id: column.not_runnable for column in declared.columns}
    return {name: reason for name, reason in reasons.items() if reason}


def _print(summary: dict[str, Any], explained: list[Explanation], made: Plan) -> None:
    cited = f", {len(summary['cited'])} cited" if summary["cited"] else ""
    waiting = f", {len(summary['not_runnable'])} rows or columns not runnable yet" if summary["not_runnable"] else ""
    cells = output.counted(summary["cells"], "cell")
    output.say(f"{made.table} at scale {made.scale}: {cells} to run{cited}{waiting}, {_seeds(summary['seeds'])}")
    output.say("  " + ", ".join(_kind(one) for one in summary["kinds"]))
    for name, reason in summary["not_runnable"].items():
        output.say(f"  not runnable yet: {name}: {reason}")
    done = sum(count for name, count in summary["states"].items() if name in ("recorded", "available"))
    counts = f"{done} recorded, {len(summary['to_run'])} to run"
    others = {name: n for name, n in summary["states"].items() if name in ("running", "pending", "failed", "vanished")}
    counts += "".join(f", {n} {name}" for name, n in others.items())
    output.say(f"{output.counted(len(made.stages), 'stage')}: {counts}. Wrote {output.short(summary['file'])}")
    for line in pricing.lines(summary["cost"]):
        output.say(f"  {line}")
    disk = summary["disk"]
    used, free = output.size(disk["used_bytes"]), output.size(disk["free_bytes"])
    output.say(f"  disk: {used} under {disk['output_root']}, {free} free")
    for one in explained:
        stage = made.stages[one.signature]
        output.say(f"  {one.signature}  {stage.kind:8}  {one.state:9}  {stage.label}: {one.reason}")


def _kind(one: Mapping[str, Any]) -> str:
    shared = f" (shared by up to {one['most_users']} {one['used_by']})" if one["most_users"] > 1 else ""
    return f"{one['kind']} {one['stages']}{shared}"


def _seeds(seeds: list[int]) -> str:
    return f"{output.counted(len(seeds), 'seed')} ({', '.join(map(str, seeds))})"
