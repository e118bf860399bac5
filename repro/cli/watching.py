"""`repro status`, `logs` and `cancel`: what runs, what it says, and how to end it. Works from any login node."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import comparison, names, options, output, plan_files
from repro.cli.names import Selection
from repro.cli.progress import where_it_is
from repro.errors import PlanError

if TYPE_CHECKING:
    from repro.harness.plan import Plan, Stage
    from repro.harness.state import StageState

ORDER = ("running", "failed", "blocked", "vanished", "pending", "to run", "recorded", "available")
STYLES = {
    "running": "cyan",
    "failed": "bold red",
    "blocked": "red",
    "vanished": "red",
    "available": "green",
    "recorded": "green",
}
SHOWN = 40  # stages that wait for nothing but their turn are listed up to here
POLL_SECONDS = 0.5

Place = Annotated[
    str,
    typer.Argument(metavar="TABLE[/ROW/COLUMN]", help="A table, or one of its cells."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    panel = "Run"
    app.command(
        "status", rich_help_panel=panel, epilog="Example: repro status detreg/table5 --scale tiny --cluster local"
    )(status)
    app.command(
        "logs",
        rich_help_panel=panel,
        epilog="Example: repro logs detreg/table5/detreg/1% --scale tiny --stage finetune -f",
    )(logs)
    app.command("cancel", rich_help_panel=panel, epilog="Example: repro cancel detreg/table5 --scale tiny --rows swav")(
        cancel
    )


def status(
    table: Place,
    scale: options.Scale = None,
    cluster: options.Cluster = None,
    rows: options.Rows = None,
    columns: options.Columns = None,
    seeds: options.Seeds = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="List finished stages and all that wait, too.")
    ] = False,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """Say how every stage of a table stands, with progress and time left for those that run."""
    from repro.harness import launch

    made = _planned(table, scale, rows, columns, seeds).part
    where = names.load_cluster(cluster)
    states = launch.status(made, where, records=plan_files.records())
    if as_json:
        stages = [_row(made.stages[signature], one) for signature, one in states.items()]
        output.say_json({"table": made.table, "scale": made.scale, "cluster": where.name, "stages": stages})
        return
    counts: Counter[str] = Counter(one.state for one in states.values())
    summary = ", ".join(f"{counts[name]} {name}" for name in ORDER if counts[name])
    output.say(f"{made.table} at scale {made.scale} on {where.name}: {output.counted(len(states), 'stage')}: {summary}")
    _print_states(made, states, everything)


def _row(stage: Stage, state: StageState) -> dict[str, Any]:
    about: dict[str, Any] = {"signature": stage.signature, "kind": stage.kind, "label": stage.label, "seed": stage.seed}
    return {**about, **output.plain(state)}


def _print_states(made: Plan, states: Mapping[str, StageState], everything: bool) -> None:
    listed = [(made.stages[signature], one) for signature, one in states.items() if everything or not one.done]
    listed.sort(key=lambda pair: ORDER.index(pair[1].state))
    urgent = [pair for pair in listed if pair[1].state not in ("pending", "to run")]
    shown = listed if everything else listed[: max(SHOWN, len(urgent))]
    if not shown:
        return
    from rich.text import Text

    grid = output.grid("state", "stage", "signature", "progress", "job", "")
    for stage, one in shown:
        state = Text(one.state, style=STYLES.get(one.state, ""))
        about = where_it_is(one.progress) if one.progress else one.reason
        grid.add_row(state, stage.label, stage.signature, _bar(one), one.job, about)
    output.show(grid)
    if len(listed) > len(shown):
        output.say(f"and {len(listed) - len(shown)} more that wait; --all lists them")


def _bar(state: StageState) -> Any:
    from rich.progress_bar import ProgressBar

    found = state.progress or {}
    if state.state != "running" or not found.get("iterations"):
        return ""
    return ProgressBar(total=float(found["iterations"]), completed=float(found.get("iteration") or 0), width=20)


def logs(
    address: Place,
    stage: Annotated[
        str | None, typer.Option("--stage", help="Name, signature or label. Default: what failed, runs, or came last.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the cell. Default: its first.")] = None,
    scale: options.Scale = None,
    cluster: options.Cluster = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until the stage ends.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines; 0 for all.")] = 50,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """Print what a stage wrote: the end of its log, and why it failed if it did."""
    from repro.harness import launch

    where = names.load_cluster(cluster)
    made, selection = _cell_or_table(address, scale, seed)
    states = comparison.states_of(made, where)
    chosen = _choose(made, selection, stage, states)
    files = launch.logs(made, chosen.signature, where)
    failed = launch.failure(made, chosen.signature, where)
    if as_json:
        about = {"stage": _row(chosen, states[chosen.signature]), "files": files, "failure": failed}
        output.say_json(about | {"text": [_tail(path, lines) for path in files]})
        return
    state = states[chosen.signature]
    reason = f" ({state.reason})" if state.reason else ""
    output.remark(f"{chosen.label} ({chosen.signature}, seed {chosen.seed}): {state.state}{reason}")
    if not files:
        output.remark(f"It has written no log yet; {where.output_root / chosen.signature} was looked in.")
    for path in files:
        output.remark(f"==> {path} <==")
        output.say("\n".join(_tail(path, lines)))
    if follow and files:
        _follow(files[0], made, chosen, where)
    if failed and not state.done:
        output.say(str(failed.get("traceback") or f"{failed.get('error')}: {failed.get('message')}").rstrip())


def _cell_or_table(address: str, scale: str | None, seed: int | None) -> tuple[Plan, Selection]:
    """Return the plan, and what of it ``address`` and ``seed`` name: a cell at one seed, or all."""
    if address.count("/") < 2:
        declared = names.load_table(address)
        selection = Selection(seeds=None if seed is None else (seed,))
    else:
        declared, row, column = names.cell(address)
        selection = Selection((row.id,), (column.id,), None if seed is None else (seed,))
    return plan_files.stored(declared, names.scale(scale), selection).part, selection


def _choose(made: Plan, selection: Selection, name: str | None, states: Mapping[str, StageState]) -> Stage:
    """Return the stage that is meant: the named one, else one that failed, else one that runs, else the last that ran.

    Raises:
        PlanError: no stage is called so, or several are.
    """
    from repro.harness import state

    if name is not None:
        cells = made.cells[:1] if selection.rows is not None and selection.seeds is None else made.cells
        found = {s for cell in cells for s in cell.stages if name in (made.stages[s].name, made.stages[s].kind)}
        return made.stages[found.pop()] if len(found) == 1 else state.find(made, name)
    for wanted in ("failed", "running", "vanished"):
        for signature, one in states.items():
            if one.state == wanted:
                return made.stages[signature]
    done = [signature for signature, one in states.items() if one.done or one.attempt]
    if not done:
        raise PlanError(f"no stage of {made.table} at scale {made.scale} that this names has run yet")
    return made.stages[done[-1]]


def _tail(path: Path, lines: int) -> list[str]:
    from collections import deque

    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in (deque(file, lines) if lines else file)]


def _follow(path: Path, made: Plan, chosen: Stage, where: Any) -> None:
    """Print what is added to a log until its stage is neither running nor waiting, or until Ctrl-C."""
    from repro.harness import launch

    looked = 0.0
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            file.seek(0, 2)
            while True:
                if text := file.read():
                    typer.echo(text, nl=False)
                    continue
                if time.monotonic() - looked > where.poll_seconds:
                    looked = time.monotonic()
                    if not launch.status(made, where, records=plan_files.records())[chosen.signature].live:
                        typer.echo(file.read(), nl=False)
                        return
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return


def cancel(
    address: Place,
    scale: options.Scale = None,
    cluster: options.Cluster = None,
    rows: options.Rows = None,
    columns: options.Columns = None,
    seeds: options.Seeds = None,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """End stages that run or wait in the queue. `repro run` starts them again from their last checkpoints.

    Stages that cells outside the selection need as well are left alone.
    """
    from repro.harness import launch

    whole, made, _ = _planned(address, scale, rows, columns, seeds)
    where = names.load_cluster(cluster)
    chosen = _only_theirs(made, whole)
    ended = launch.cancel(whole, where, signatures=chosen)
    if as_json:
        output.say_json({"table": made.table, "scale": made.scale, "cluster": where.name, "cancelled": ended})
        return
    for signature in ended:
        output.say(f"cancelled {signature}  {whole.stages[signature].label}")
    output.say(f"{output.counted(len(ended), 'stage')} cancelled." if ended else "Nothing runs or waits.")


def _only_theirs(part: Plan, whole: Plan) -> set[str]:
    """Return the stages of ``part`` that no other cell of ``whole`` needs."""
    mine = {(cell.row, cell.column, cell.seed) for cell in part.cells}
    others = {s for cell in whole.cells if (cell.row, cell.column, cell.seed) not in mine for s in cell.stages}
    return set(part.stages) - others


def _planned(
    address: str, scale: str | None, rows: str | None = None, columns: str | None = None, seeds: str | None = None
) -> plan_files.Planned:
    """Return the plan, whole and the part that an address and options name.

    Raises:
        PlanError: the table is not planned at this scale, or its plan is stale.
    """
    if address.count("/") >= 2:
        declared, row, column = names.cell(address)
        chosen = names.select(declared, seeds=seeds)
        return plan_files.stored(declared, names.scale(scale), Selection((row.id,), (column.id,), chosen.seeds))
    declared = names.load_table(address)
    return plan_files.stored(declared, names.scale(scale), names.select(declared, rows, columns, seeds))
