"""`repro record` and `repro gc`: what was measured, kept whole; and the files that no plan needs, removed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import comparison, names, options, output, plan_files
from repro.cli.names import Selection
from repro.errors import PlanError, RecordError, collect, did_you_mean

if TYPE_CHECKING:
    from repro.harness.plan import Plan
    from repro.harness.record import Record


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(
        no_args_is_help=True, help="Show, verify and merge records.", epilog="Example: repro record verify"
    )
    group.command("show", epilog="Example: repro record show detreg/table5/detreg/1% --scale tiny")(show)
    group.command("verify", epilog="Example: repro record verify")(verify)
    group.command("merge", epilog="Example: repro record merge ../other-machine/results")(merge)
    app.add_typer(group, name="record", rich_help_panel="Keep")
    app.command("gc", rich_help_panel="Keep", epilog="Example: repro gc --dry-run")(gc)


def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SIGNATURE|TABLE/ROW/COLUMN",
            help="A stage's signature, or its beginning; or a cell.",
            autocompletion=options.complete.addresses,
        ),
    ],
    scale: options.Scale = None,
    results: options.Results = None,
    as_json: options.Json = False,
) -> None:
    """Show the records of a stage, or those behind a cell."""
    found = _of_cell(what, scale) if "/" in what else _of_signature(what)
    if as_json:
        output.say_json(found)
        return
    for one in found:
        for line in _lines(one):
            output.say(line)


def _of_cell(address: str, scale: str | None) -> list[Record]:
    """Return the records of the evaluations of a cell, over its seeds.

    Raises:
        RecordError: there are none.
    """
    from repro.harness import record

    declared, row, column = names.cell(address)
    plan = plan_files.stored(declared, names.scale(scale), Selection((row.id,), (column.id,))).part
    found = [one for cell in plan.cells for one in record.read(cell.stages[-1], plan_files.records())]
    if not found:
        raise RecordError(f"{declared.name}/{row.id}/{column.id} has no record at scale {plan.scale}")
    return found


def _of_signature(start: str) -> list[Record]:
    """Return all records of the stage whose signature begins with ``start``.

    Raises:
        RecordError: there is none, or there are several such stages.
    """
    from repro.harness import record

    known = sorted({path.name.partition(".")[0] for path in plan_files.records().glob("[0-9a-f]*.json")})
    fitting = [name for name in known if name.startswith(start)]
    if len(fitting) == 1:
        return record.read(fitting[0], plan_files.records())
    if fitting:
        raise RecordError(f"{start} begins {output.counted(len(fitting), 'signature')}: {', '.join(fitting[:10])}")
    near = did_you_mean(start, known) if len(known) < 20 else ""
    raise RecordError(f"{plan_files.records()} has no record of {start}. {near}".rstrip())


def _lines(one: Record) -> list[str]:
    """Return a record for a reader; --json prints all of it."""
    repeat = f", repeat {one.n}" if one.n else ""
    dirty = " with uncommitted changes" if one.code.get("dirty") else ""
    code = f"{str(one.code.get('commit') or 'no commit')[:12]}{dirty}"
    machine = one.hardware.get("gpu") or one.hardware.get("cpu") or "unknown machine"
    gpus = f"{one.hardware['gpus']} × " if one.hardware.get("gpus") else ""
    lines = [
        f"{one.signature}{repeat}  {one.label}",
        f"  kind {one.kind}, scale {one.scale}, seed {one.seed}, origin {one.origin}",
        f"  ran {output.duration(one.seconds)} on {gpus}{machine}, {output.counted(one.iterations, 'iteration')},"
        f" {output.counted(one.attempts, 'attempt')}, finished {one.finished}",
        f"  code {code}; " + ", ".join(f"{name} {version}" for name, version in one.versions.items()),
    ]
    lines += [f"  starts from {name} {signature}" for name, signature in one.parents.items()]
    lines += [f"  data {name} {mark}" for name, mark in one.datasets.items()]
    lines += [f"  {name} {'undefined' if math.isnan(value) else f'{value:.4g}'}" for name, value in one.metrics.items()]
    lines += [f"  file {entry['file']} ({output.size(entry['bytes'])})" for entry in one.files()]
    return lines + ([f"  {one.remark}"] if one.remark else [])


def verify(results: options.Results = None, as_json: options.Json = False) -> None:
    """Check every record: readable, whole, named by its content, no gaps, no doubles."""
    from repro.harness import record

    faults = record.verify(plan_files.records())
    count = len(list(plan_files.records().glob("[0-9a-f]*.json")))
    if as_json:
        output.say_json({"folder": plan_files.records(), "records": count, "faults": faults})
        raise typer.Exit(2 if faults else 0)
    collect(faults, str(plan_files.records()), RecordError)
    output.say(f"{output.counted(count, 'record')} in {plan_files.records()}: no faults.")


def merge(
    source: Annotated[Path, typer.Argument(help="A folder of records, or a results folder that has one.")],
    results: options.Results = None,
    as_json: options.Json = False,
) -> None:
    """Copy the records of another machine into ours. What we have is skipped; what differs is kept as a repeat."""
    from repro.harness import record

    folder = source / "records" if (source / "records").is_dir() else source
    if not folder.is_dir():
        raise RecordError(f"{folder.absolute()} is no folder")
    counts = record.merge(folder, plan_files.records())
    if as_json:
        output.say_json({"source": folder, "target": plan_files.records(), **counts})
        return
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    output.say(f"{folder} into {plan_files.records()}: {told}.")


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    cluster: options.Cluster = None,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """Remove checkpoints and logs that no plan file needs. Records are never removed."""
    from repro.harness.gc import gc as collect_garbage

    plans = _all_plans()
    root = comparison.output_root_of(cluster)
    found = collect_garbage(plans, root, records=plan_files.records(), dry_run=dry_run)
    total = sum(one.bytes for one in found)
    if as_json:
        output.say_json({"output_root": root, "dry_run": dry_run, "bytes": total, "garbage": found})
        return
    for one in found:
        output.say(f"{output.size(one.bytes):>9}  {one.path}  {one.reason}")
    word = "would be removed" if dry_run else "removed"
    output.say(f"{output.counted(len(found), 'item')}, {output.size(total)} {word} under {root}")


def _all_plans() -> list[Plan]:
    """Return every plan there is a file of, stale ones too: their stages may be wanted again.

    Raises:
        PlanError: there is none, so that everything would be garbage.
    """
    from repro.harness import plan as planning

    found: list[Any] = []
    for path in sorted(plan_files.folder().glob("*.json")):
        stem, _, scale = path.stem.rpartition(".")
        paper, _, table = stem.partition("-")
        found.append(planning.read(f"{paper}/{table}", scale, plan_files.folder()))
    if not found:
        raise PlanError(
            f"{plan_files.folder()} holds no plan, so every file would count as garbage. Run `repro plan` first."
        )
    return found
