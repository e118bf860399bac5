"""`repro list`, `show` and `check`: what tables and figures are declared, as printed, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import faults, names, options, output, plan_files
from repro.errors import ReproError, TableError

if TYPE_CHECKING:
    from repro.harness.table import Column, Drawing, Row, Table


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    panel = "Declare"
    app.command("list", rich_help_panel=panel, epilog="Example: repro list 'detreg/*'")(list_)
    app.command("show", rich_help_panel=panel, epilog="Example: repro show detreg/table5")(show)
    app.command("check", rich_help_panel=panel, epilog="Example: repro check detreg/table5 --scale tiny")(check)


def list_(
    pattern: Annotated[str, typer.Argument(help="A glob over the tables' names.")] = "*",
    results: options.Results = None,
    as_json: options.Json = False,
) -> None:
    """List all tables and figures, with how many of their cells are done at each scale.

    A cell counts with each of its seeds. Only plan files and the names of records are looked at.
    """
    from fnmatch import fnmatch

    from repro.harness import places, table

    found = [_listed(name) for name in table.names(places.benchmarks()) if fnmatch(name, pattern)]
    if as_json:
        output.say_json(found)
        return
    if not found:
        output.remark(f"No table fits {pattern!r} in {places.benchmarks()}.")
    grid = output.grid("table", *names.SCALES, "title", right=names.SCALES)
    for one in found:
        done = [_done(one["scales"].get(scale)) for scale in names.SCALES]
        grid.add_row(one["table"], *done, one["title"] or f"has faults: repro check {one['table']}")
    output.show(grid)
    if any(progress["stale"] for one in found for progress in one["scales"].values()):
        output.say("*  planned before its table changed; repro plan TABLE makes the plan anew")


def _listed(name: str) -> dict[str, Any]:
    """Return a table's title and, for each scale that is planned, how many cells are done."""
    from repro.harness import places, record, table

    declared: Table | None
    try:
        declared = table.load(name, places.benchmarks())
    except TableError:
        declared = None
    scales = {}
    for scale in names.SCALES:
        plan = plan_files.glance(name, scale)
        if plan is None:
            continue
        done = sum(record.exists(cell.stages[-1], plan_files.records()) for cell in plan.cells)
        stale = declared is not None and not plan_files.fresh(plan, declared)
        scales[scale] = {"done": done, "cells": len(plan.cells), "stale": stale}
    return {"table": name, "title": declared.title if declared else None, "scales": scales}


def _done(progress: Mapping[str, Any] | None) -> str:
    if progress is None:
        return "–"
    return f"{progress['done']}/{progress['cells']}{'*' if progress['stale'] else ''}"


def show(table: options.Table, as_json: options.Json = False) -> None:
    """Show a table as the paper prints it, and which recipes each cell runs."""
    declared = names.load_table(table)
    if as_json:
        output.say_json(_as_json(declared))
        return
    output.say(f"{declared.name}: {declared.title}")
    output.say(_source(declared))
    if declared.drawing is not None:
        output.say(f"  {_drawn(declared.drawing)}")
    output.show(_printed(declared))
    for line in _notes(declared):
        output.say(line)
    output.say("\nRecipes:")
    for recipes, cells in _by_recipe(declared).items():
        output.say(f"  {', '.join(cells)}")
        for recipe in recipes:
            output.say(f"      {recipe}")


def _as_json(declared: Table) -> dict[str, Any]:
    content: dict[str, Any] = output.plain(declared)
    content["cells"] = [
        {
            "row": row,
            "column": column,
            "metric": declared.metric_of(column),
            "stages": output.plain(declared.cell_stages(row, column)),
        }
        for row, column in declared.runnable_cells()
    ]
    return content


def _source(declared: Table) -> str:
    paper = declared.paper
    parts = [f"arXiv:{paper.arxiv}" if paper.arxiv else "", f"Table {paper.table}" if paper.table else ""]
    parts += [f"Figure {paper.figure}" if paper.figure else ""]
    parts += [f"as of {paper.as_of}" if paper.as_of else "", output.counted(paper.runs, "run") if paper.runs else ""]
    parts += [f"metric {declared.metric}, gate {declared.gate}"] if declared.metric else []
    return "  " + ", ".join(filter(None, parts))


def _drawn(drawing: Drawing) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in drawing.settings.items())
    return f"drawn by repro/figures/{drawing.kind}.py" + (f": {settings}" if settings else "")


def _printed(declared: Table) -> Any:
    grid = output.grid("", *(_head(column) for column in declared.columns), right=tuple(map(_head, declared.columns)))
    group = None
    for row in declared.rows:
        if row.group and row.group != group:
            grid.add_row(f"[{row.group}]")
        group = row.group
        grid.add_row(_label(row), *(_number(row, column) for column in declared.columns))
    return grid


def _head(column: Column) -> str:
    return f"{column.group}\n{column.label}" if column.group else column.label


def _label(row: Row) -> str:
    marks = {"cited": row.cited, "published weights": row.published, "not runnable yet": row.not_runnable}
    mark = next((f" ({name})" for name, has in marks.items() if has), "")
    return ("  " if row.group else "") + row.label + mark


def _number(row: Row, column: Column) -> str:
    printed, corrected = row.paper.get(column.id), row.corrected.get(column.id)
    return (printed.text if printed else "–") + (f" → {corrected.text}" if corrected else "")


def _notes(declared: Table) -> list[str]:
    found = [declared.note] if declared.note else []
    others: list[Row | Column] = [*declared.rows, *declared.columns]
    for one in others:
        name = f"{one.group}, {one.label}" if one.group else one.label  # labels are unique within their group only
        found += [f"{name}: {one.note}"] if one.note else []
        found += [f"{name}: not runnable yet: {one.not_runnable}"] if one.not_runnable else []
    found += [f"claim {claim.id}: {claim.text}" for claim in declared.claims]
    return [f"  {line}" for line in found]


def _by_recipe(declared: Table) -> dict[tuple[str, ...], list[str]]:
    """Return the cells by what they run, in the table's order; cells that run the same stand together."""
    found: dict[tuple[str, ...], list[str]] = {}
    for row, column in declared.runnable_cells():
        lines = []
        for spec in declared.cell_stages(row, column):
            settings = ", ".join(f"{key}={value}" for key, value in spec.overrides.items())
            lines.append(f"{spec.name:9} {spec.config}" + (f"  {settings}" if settings else ""))
        found.setdefault(tuple(lines), []).append(f"{row}/{column}")
    return found


def check(
    tables: options.Tables = None,
    scale: options.Scale = None,
    recipes: Annotated[
        bool, typer.Option("--recipes/--no-recipes", help="Resolve the recipes, which needs torch and Detectron2.")
    ] = True,
    cluster: options.Cluster = None,
    as_json: options.Json = False,
) -> None:
    """Report all faults of tables, recipes, cluster files and nightly lists in one message.

    Recipes are resolved at every scale, or at one with --scale. With --cluster it is also checked whether that cluster
    can be used from this machine.
    """
    scales = names.SCALES if scale is None else (names.scale(scale),)
    asked = None if not tables else [names.table_name(name) for name in tables]
    report = faults.find(asked, scales if recipes else (), cluster)
    if as_json:
        output.say_json(report)
        raise typer.Exit(2 if report.faults else 0)
    for absent in report.absent:
        output.remark(f"not on this machine: {absent}")
    if report.faults:
        raise ReproError(report.text())
    output.say(f"No faults in {report.looked_at()}.")
