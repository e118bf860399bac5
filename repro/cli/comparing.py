"""`repro diff`, `why` and `report`: what was measured, beside what was printed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, cast

import typer

from repro.cli import comparison, names, options, output, plan_files
from repro.cli.names import Selection
from repro.errors import PlanError


class Format(StrEnum):
    """How a comparison is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"


class Against(StrEnum):
    """What a comparison is set against at scale paper; below it, it is always the accepted number."""

    PAPER = "paper"
    ACCEPTED = "accepted"


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    panel = "Compare"
    app.command(
        "diff", rich_help_panel=panel, epilog="Example: repro diff detreg/table5 --scale small --format markdown"
    )(diff)
    app.command("why", rich_help_panel=panel, epilog="Example: repro why detreg/table5/detreg/1% --scale small")(why)
    app.command("report", rich_help_panel=panel, epilog="Example: repro report detreg/table5 --scale small")(report)


def diff(
    table: options.Table,
    scale: options.Scale = None,
    rows: options.Rows = None,
    columns: options.Columns = None,
    seeds: options.Seeds = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to write it.")] = Format.TABLE,
    against: Annotated[Against, typer.Option("--against", help="At scale paper: which numbers.")] = Against.PAPER,
    strict: Annotated[bool, typer.Option("--strict", help="End with 3 when anything is incomplete.")] = False,
    cluster: options.Cluster = None,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """Compare a table with what was measured: mean ± std, number of seeds, difference to the baseline, verdict.

    Ends with 0 when nothing is worse, 1 when a gate-A cell or claim is worse or failed, 2 on bad input, 3 when
    incomplete under --strict.
    """
    from repro.harness import report as reporting
    from repro.harness.diff import exit_code

    found = comparison.compare(
        table, scale, rows=rows, columns=columns, seeds=seeds, against=against.value, cluster=cluster
    )
    chosen = Format.JSON if as_json else format
    if chosen is Format.TABLE:
        console = output.console()
        console.print(reporting.terminal(found.frame, found.table, console.width))
    else:
        text = reporting.render(found.frame, found.table, cast("reporting.Format", chosen.value))
        typer.echo(text, nl=False)
    raise typer.Exit(exit_code(found.frame, strict))


def why(
    address: options.Address,
    scale: options.Scale = None,
    recipes: Annotated[
        bool, typer.Option("--recipes/--no-recipes", help="Set the recipe against the paper's, which needs torch.")
    ] = True,
    cluster: options.Cluster = None,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """List the suspects when a cell misses: recipe, schedule, resumes, spread, code, data, kinds of error."""
    from repro.harness.why import why as explain

    table, row, column = names.cell(address)
    plan = plan_files.stored(table, names.scale(scale), Selection((row.id,), (column.id,))).whole
    states = comparison.states_of(plan, cluster)
    resolve = plan_files.resolver() if recipes and plan.scale != "paper" else None
    explanation = explain(table, plan, row.id, column.id, plan_files.records(), states, resolve)
    if as_json:
        output.say_json(explanation.to_dict())
    else:
        output.say(explanation.text())


def report(
    tables: options.Tables = None,
    scale: options.Scale = None,
    cluster: options.Cluster = None,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """Write the comparison of each table as Markdown and CSV into results/tables/.

    Without --scale at each scale that has results; without TABLE for all tables.
    """
    from repro.harness import places, table
    from repro.harness import report as reporting

    written = []
    for name in [names.table_name(one) for one in tables or ()] or table.names(places.benchmarks()):
        declared = names.load_table(name)
        plans = (
            comparison.all_plans(declared) if scale is None else [plan_files.stored(declared, names.scale(scale)).whole]
        )
        for plan in plans:
            frame = comparison.frame(declared, plan, Selection(), comparison.states_of(plan, cluster))
            if scale is None and not frame["n"].any():
                output.remark(f"{name} at scale {plan.scale}: planned, and nothing is measured yet")
                continue
            paths = reporting.write(frame, declared, places.results() / "tables")
            written.append({"table": name, "scale": plan.scale, "files": paths})
    if not written:
        raise PlanError("nothing is measured, so there is nothing to report: `repro run TABLE` first")
    if as_json:
        output.say_json(written)
        return
    for one in written:
        output.say(f"{one['table']} at scale {one['scale']}: " + ", ".join(map(str, one["files"])))
