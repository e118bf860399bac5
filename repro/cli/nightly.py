"""`repro nightly`: run what a list says, compare it with the accepted numbers, and accept new ones with a reason."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli import comparison, names, options, output, plan_files, progress
from repro.cli.launching import INTERRUPTED
from repro.cli.names import Selection
from repro.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

    from repro.harness.nightly import Nightly, Task
    from repro.harness.table import Table

DEFAULT = "smoke"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "nightly",
        rich_help_panel="Compare",
        epilog="Examples: repro nightly smoke. After a change that is meant: repro nightly smoke --accept 'why'",
    )(nightly)


def nightly(
    name: Annotated[
        str, typer.Argument(help="A file of benchmarks/nightly/.", autocompletion=options.complete.nightlies)
    ] = DEFAULT,
    accept: Annotated[
        str | None,
        typer.Option(
            "--accept",
            metavar="REASON",
            help="Run nothing; make the numbers of the last night, or of results/ with --table, the accepted ones.",
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            "--table",
            metavar="TABLE",
            help="With --accept: this table at --scale.",
            autocompletion=options.complete.tables,
        ),
    ] = None,
    scale: options.Scale = None,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """Run a nightly list in a folder of its own, and say whether an accepted number left its band.

    Ends with 0 when all is well, 1 when a number left its band or something that was meant to run did not.
    """
    if accept is not None:
        _accept(name, accept, table, scale, as_json)
        return
    if table is not None:
        raise TableError("--table goes with --accept; what a night runs is written in benchmarks/nightly/")
    _run(name, as_json)


def _run(name: str, as_json: bool) -> None:
    from repro.harness import nightly as nights

    listed = _load(name)
    folder = _make(nights.workplace(listed.name, names.load_cluster(listed.cluster).output_root))
    output.remark(f"nightly {name}: {output.counted(len(listed.tables), 'table')} on {listed.cluster}, in {folder}")
    account = nights.nightly(listed, _task, folder)
    if as_json:
        output.say_json({"folder": folder, "exit_code": account.exit_code} | output.plain(account))
    else:
        output.say(account.text())
        if account.exit_code:
            output.remark(f"If that is meant: repro nightly {name} --accept 'REASON'")
    raise typer.Exit(account.exit_code)


def _make(folder: Path) -> Path:
    """Make an empty folder for a night; its name gets a number when another night began in the same second."""
    number, made = 1, folder
    while True:
        try:
            made.mkdir(parents=True)
        except FileExistsError:
            number += 1
            made = folder.with_name(f"{folder.name}.{number}")
        else:
            return made


def _load(name: str) -> Nightly:
    from repro.harness import nightly as nights
    from repro.harness import places

    return nights.load(name, places.benchmarks() / "nightly")


def _task(task: Task, listed: Nightly, folder: Path) -> tuple[Table, pd.DataFrame]:
    """Plan, launch and compare one table of the list, with records and checkpoints in the night's own folder.

    Raises:
        typer.Exit: it was interrupted.
    """
    from repro.harness import launch
    from repro.harness import plan as planning

    table = names.load_table(task.table)
    wanted = names.select(table, task.rows, task.columns, task.seeds)
    plan = planning.plan(
        table, plan_files.resolver(), names.scale(task.scale), wanted.rows, wanted.columns, wanted.seeds
    )
    planning.write(plan, folder / "plans")
    where = dataclasses.replace(names.load_cluster(listed.cluster), output_root=folder / "output")
    records = folder / "records"
    with progress.display(len(plan.stages), on_terminal=sys.stderr.isatty()) as shown:
        launched = launch.launch(plan, where, wait=True, records=records, entry=launch.ENTRY, on_event=shown)
    if launched.interrupted:
        raise typer.Exit(INTERRUPTED)
    states = launch.status(plan, where, records=records, patient=True)
    return table, comparison.frame(table, plan, wanted, states, records=records)


def _accept(name: str, reason: str, table: str | None, scale: str | None, as_json: bool) -> None:
    """Write new accepted numbers into the tables' files.

    Raises:
        TableError: there is nothing to accept, or a cell is unfinished.
    """
    from repro.harness.accepted import accept

    found = _last_night(name) if table is None else [_from_results(table, scale)]
    changes = {
        declared.name: accept(declared.path, str(frame["scale"].iloc[0]), frame, reason) for declared, frame in found
    }
    if as_json:
        output.say_json({"reason": reason, "changes": changes})
        return
    for changed, lines in changes.items():
        output.say(f"{changed}: " + (f"{len(lines)} accepted" if lines else "nothing changed"))
        for line in lines:
            output.say(f"  {line}")


def _from_results(name: str, scale: str | None) -> tuple[Table, pd.DataFrame]:
    found = comparison.compare(name, scale, against="accepted")
    return found.table, found.frame


def _last_night(name: str) -> list[tuple[Table, pd.DataFrame]]:
    """Return the comparisons of the newest night of a list.

    Raises:
        TableError: no night of it has run here.
    """
    from repro.harness import nightly as nights

    listed = _load(name)
    place = nights.workplace(listed.name, names.load_cluster(listed.cluster).output_root).parent
    nightly_folders = sorted(folder for folder in place.glob("*") if (folder / "plans").is_dir())
    if not nightly_folders:
        raise TableError(f"no night of {name} has run here: {place} has none. Run `repro nightly {name}` first.")
    last = nightly_folders[-1]
    output.remark(f"taking {last}")
    found = []
    for task in listed.tables:
        table = names.load_table(task.table)
        plan = plan_files.stored(table, task.scale, results=last).whole
        found.append((table, comparison.frame(table, plan, Selection(), None, "accepted", last / "records")))
    return found
