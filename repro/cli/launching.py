"""`repro run`: plan, start what is missing, show how it goes, and end with the comparison."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import comparison, names, options, output, plan_files, progress
from repro.cli.names import Selection
from repro.cli.plan_files import Planned
from repro.errors import LaunchError

if TYPE_CHECKING:
    from repro.harness.cluster import Cluster
    from repro.harness.launch import Launched
    from repro.harness.plan import Plan
    from repro.harness.table import Table

INTERRUPTED = 130  # what a shell calls a command that Ctrl-C ended


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "run",
        rich_help_panel="Run",
        epilog="Example: repro run detreg/table5 --scale tiny --rows swav,detreg --columns 1%,10% --seeds 42,43",
    )(run)


@dataclass(frozen=True)
class Job:
    """What was asked for. ``named`` is the cluster as it was typed."""

    table: Table
    planned: Planned
    selection: Selection
    cluster: Cluster
    named: str

    @property
    def about(self) -> dict[str, Any]:
        """What stands at the top of every JSON answer."""
        return {"table": self.table.name, "scale": self.planned.part.scale, "cluster": self.named}

    def command(self, verb: str, *, on_cluster: bool = True) -> str:
        """Return the command that does ``verb`` to the same part of the table."""
        where = f" --cluster {self.named}" if on_cluster else ""
        about = f"{self.table.name} --scale {self.planned.part.scale}{where}{self.selection.options()}"
        return f"{options.program()} {verb} {about}{options.folders()}"


def run(
    table: options.Table,
    scale: options.Scale = None,
    cluster: options.Cluster = None,
    rows: options.Rows = None,
    columns: options.Columns = None,
    seeds: options.Seeds = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be started, and why.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="SLURM: stay until all is done. Elsewhere always so.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Start stages again that failed.")] = False,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Run code with uncommitted changes; its records say so.")
    ] = False,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """Run what is missing of a table: here, or on SLURM and leave.

    What is recorded is never run again, and what runs or waits in a queue is not started twice: call it as often as you
    like, also after it was killed. Ends with 1 when a stage failed.
    """
    from repro.harness import launch

    job = _job(table, scale, cluster, names_of=(rows, columns, seeds))
    made = job.planned.part
    if dry_run:
        foreseen = launch.launch(made, job.cluster, dry_run=True, records=plan_files.records(), retry=retry)
        _say_foreseen(job, foreseen, as_json)
        return
    launched = start(made, job.cluster, job.named, retry=retry, wait=wait, allow_dirty=allow_dirty)
    code = INTERRUPTED if launched.interrupted else 0 if launched.ok else 1
    if as_json:
        output.say_json(job.about | {"exit_code": code} | output.plain(launched))
    else:
        _say_ending(job, launched, left=job.cluster.executor == "slurm" and not wait)
    raise typer.Exit(code)


def start(
    made: Plan,
    cluster: Cluster,
    named: str,
    *,
    retry: bool = False,
    wait: bool = False,
    allow_dirty: bool = False,
) -> Launched:
    """Start what a plan lacks, and show how it goes; ``named`` is the cluster as it was typed.

    Raises:
        LaunchError: the code has uncommitted changes, or the queue refuses.
    """
    from repro.harness import launch

    settings: dict[str, Any] = {"records": plan_files.records(), "retry": retry}
    foreseen = launch.launch(made, cluster, dry_run=True, **settings)
    states = launch.status(made, cluster, records=plan_files.records(), patient=True)
    live = sum(one.live for one in states.values())
    output.remark(_heading(made, named, foreseen, live))
    settings |= {"wait": wait, "allow_dirty": allow_dirty or None, "entry": launch.ENTRY}
    try:
        with progress.display(len(foreseen.todo) + live, on_terminal=sys.stderr.isatty()) as shown:
            return launch.launch(made, cluster, on_event=shown, **settings)
    except KeyboardInterrupt:
        return launch.Launched(todo=foreseen.todo, interrupted=True)


def _job(
    table: str, scale: str | None, cluster: str | None, names_of: tuple[str | None, str | None, str | None]
) -> Job:
    """Work out what is asked for, and write the plan.

    Raises:
        ReproError: anything that was named does not exist, or cannot be planned.
    """
    declared = names.load_table(table)
    selection = names.select(declared, *names_of)
    where = names.load_cluster(cluster)
    chosen = names.scale(scale)
    if scale is None:
        _refuse_by_accident(chosen, where)
    planned = plan_files.make(declared, chosen, selection)
    if declared.drawing is not None:
        from repro import figures

        kept = figures.keep(planned.part, figures.load(declared))
        planned = planned._replace(part=dataclasses.replace(planned.part, keep=kept))
    return Job(declared, planned, selection, where, names.cluster_name(cluster))


def _refuse_by_accident(scale: str, where: Cluster) -> None:
    """Raise where the default scale would start months of GPU work on a machine that has no GPU.

    Raises:
        LaunchError: always then; it says what to type instead.
    """
    if scale == "paper" and where.executor != "slurm" and not where.gpus:
        raise LaunchError(
            f"no scale was given, and {where.name} has no GPU, on which scale paper would take months.\n"
            "Say which you mean: --scale tiny (minutes), --scale small (about an hour), or --scale paper."
        )


def _heading(made: Plan, named: str, foreseen: Launched, live: int = 0) -> str:
    done = len(made.stages) - live - len(foreseen.todo) - len(foreseen.failed) - len(foreseen.blocked)
    counts = f"{output.counted(len(made.stages), 'stage')}, {len(foreseen.todo)} to run"
    counts += f", {live} running or queued" if live else ""
    counts += f", {done} done or not needed" if done else ""
    counts += f", {len(foreseen.failed)} failed before (--retry starts them again)" if foreseen.failed else ""
    counts += f", {len(foreseen.blocked)} behind those" if foreseen.blocked else ""
    return f"{made.table} at scale {made.scale} on {named}: {counts}"


def _say_foreseen(job: Job, foreseen: Launched, as_json: bool) -> None:
    if as_json:
        output.say_json(job.about | output.plain(foreseen))
        return
    output.say(_heading(job.planned.part, job.named, foreseen))
    for word, found in (("run", foreseen.todo), ("failed", foreseen.failed), ("blocked", foreseen.blocked)):
        for signature, reason in found.items():
            output.say(f"  {word:7} {signature}  {job.planned.part.stages[signature].label}: {reason}")


def _say_ending(job: Job, launched: Launched, *, left: bool) -> None:
    """Say what came of it and what to type next: how to go on, how to watch, or the comparison."""
    for word, found in (("failed", launched.failed), ("blocked", launched.blocked)):
        for signature, reason in found.items():
            output.remark(f"{word}: {job.planned.part.stages[signature].label} ({signature}): {reason}")
    if launched.interrupted:
        output.remark("Interrupted. What is finished is recorded; the rest goes on from its last checkpoint with")
        output.remark(f"  {job.command('run')}")
    elif left:
        _say_left(job, launched)
    elif job.table.drawing is not None:
        output.say(f"Next: {job.command('figure')}")
    else:
        _say_comparison(job)
        output.say(f"\nNext: {_next(job, launched)}")


def _say_left(job: Job, launched: Launched) -> None:
    jobs = len({one.partition("_")[0] for one in launched.jobs.values()})
    if launched.jobs:
        output.say(f"Submitted {output.counted(len(launched.jobs), 'stage')} in {output.counted(jobs, 'job')}.")
    else:
        output.say("Nothing was submitted: everything is recorded, runs, waits in the queue, or failed before.")
    output.say(f"Next: {job.command('status')}")


def _say_comparison(job: Job) -> None:
    from repro.harness import report

    whole = job.planned.whole
    found = comparison.frame(job.table, whole, job.selection, comparison.states_of(whole, job.cluster))
    console = output.console()
    console.print(report.terminal(found, job.table, console.width))


def _next(job: Job, launched: Launched) -> str:
    """Return the command that is worth typing now: into the log of what failed, or on to the comparison."""
    made = job.planned.part
    cell = next((cell for cell in made.cells if set(cell.stages) & launched.failed.keys()), made.cells[-1])
    address = f"{made.table}/{cell.row}/{cell.column} --scale {made.scale}"
    program, folders = options.program(), options.folders()
    failed = next((signature for signature in cell.stages if signature in launched.failed), None)
    if failed is None:
        return f"{job.command('diff', on_cluster=False)} --format markdown, or {program} why {address}{folders}"
    logs = f"{program} logs {address} --cluster {job.named} --stage {failed}{folders}"
    return f"{logs}, then {job.command('run')} --retry"
