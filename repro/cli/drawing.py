"""`repro figure`: a figure of a paper, drawn from finished stages, with the numbers behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import comparison, launching, names, options, output, plan_files
from repro.cli.names import Selection
from repro.errors import FigureError, PlanError

if TYPE_CHECKING:
    from repro.figures import Drawing, Source
    from repro.harness.cluster import Cluster
    from repro.harness.plan import Plan
    from repro.harness.state import StageState
    from repro.harness.table import Table


class Picture(StrEnum):
    """What a picture's file can be."""

    PNG = "png"
    PDF = "pdf"
    SVG = "svg"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "figure",
        rich_help_panel="Compare",
        epilog="Example: repro figure detreg/figure5 --scale tiny --run",
    )(figure)


def figure(
    figure: options.Figure,
    scale: options.Scale = None,
    rows: options.Rows = None,
    columns: options.Columns = None,
    seeds: options.Seeds = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write. Default: figures/ of the results.")
    ] = None,
    format: Annotated[
        list[Picture], typer.Option("--format", "-f", help="Of the picture; may be given several times.")
    ] = [Picture.PNG],  # noqa: B006 (typer reads it)
    run: Annotated[bool, typer.Option("--run", help="Run first what it needs and is not here.")] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="Torch's name, for drawings that use a detector. Default: a GPU.")
    ] = None,
    cluster: options.Cluster = None,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """Draw a figure: the picture, its numbers as CSV (maps and pixels as npz), and where they are from as JSON.

    It is drawn from stages that are done. If some are missing, it says which and how to run them; --run does so.
    """
    from repro import figures

    declared = names.load_table(figure)
    drawing = figures.load(declared)
    where = names.load_cluster(cluster)
    selection = names.select(declared, rows, columns, seeds)
    made = _plan(declared, drawing, names.scale(scale), selection)
    if run:
        launching.start(made, where, names.cluster_name(cluster))
    _refuse_missing(made, drawing, where, (f" --cluster {cluster}" if cluster else "") + selection.options())
    sources = figures.sources(declared, made, where.output_root, plan_files.records(), device)
    folder = out or plan_files.figures()
    about = _draw(declared, drawing, sources, folder / f"{declared.name.replace('/', '-')}.{made.scale}", format)
    if as_json:
        output.say_json(about)
        return
    for name in about["files"]:
        output.say(output.short(folder / name))
    for remark in about["remarks"]:
        output.remark(remark)


def _plan(declared: Table, drawing: Drawing, scale: str, selection: Selection) -> Plan:
    """Return the plan of what was selected: the stored one where it is fresh, else one made anew."""
    from repro import figures

    try:
        part = plan_files.stored(declared, scale, selection).part
    except PlanError:
        part = plan_files.make(declared, scale, selection).part
    return dataclasses.replace(part, keep=figures.keep(part, drawing))


def _missing(made: Plan, drawing: Drawing, cluster: Cluster) -> dict[str, StageState]:
    """Return the stages that a figure is drawn from and that are not here."""
    states = comparison.states_of(made, cluster)
    found = {sig: states[sig] for sig in made.keep if states[sig].state != "available"}
    if "scores" in drawing.reads:
        ends = dict.fromkeys(cell.stages[-1] for cell in made.cells)
        unscored = {sig: states[sig] for sig in ends if not states[sig].done}
        found |= unscored if len(unscored) == len(ends) or not drawing.partial else {}
    return found


def _refuse_missing(made: Plan, drawing: Drawing, cluster: Cluster, named: str) -> None:
    """Refuse to draw from what is not there.

    Raises:
        FigureError: stages are missing; they are named, and what to type.
    """
    if not (missing := _missing(made, drawing, cluster)):
        return
    lines = [f"{made.table} at scale {made.scale} cannot be drawn yet, for want of"]
    for signature, state in missing.items():
        stage = made.stages[signature]
        lines.append(f"  {stage.kind:8} {signature}  {stage.label}: {state.state}{_because(state)}")
    verb = "status" if all(state.live for state in missing.values()) else "run"
    command = f"{options.program()} {verb} {made.table} --scale {made.scale}{named}{options.folders()}"
    raise FigureError("\n".join([*lines, f"{'Watch them' if verb == 'status' else 'Run them'}: {command}"]))


def _because(state: StageState) -> str:
    return f" ({state.reason})" if state.reason else ""


def _draw(
    declared: Table, drawing: Drawing, sources: Sequence[Source], stem: Path, formats: list[Picture]
) -> dict[str, Any]:
    """Write picture, numbers and provenance, and return the latter."""
    from repro.figures import _paper

    data = drawing.gather(sources)
    stem.parent.mkdir(parents=True, exist_ok=True)
    pictures = [stem.with_name(f"{stem.name}.{one.value}") for one in dict.fromkeys(formats)]
    about = _provenance(declared, drawing, sources)
    with _paper.style():
        _paper.save(drawing.draw(data), _source_line(about), pictures)
    about |= {"lines": len(data.rows), "remarks": list(data.remarks)}
    about["files"] = [path.name for path in (*pictures, *data.paths(stem))]
    data.write(stem, about)
    return about


def _provenance(declared: Table, drawing: Drawing, sources: Sequence[Source]) -> dict[str, Any]:
    """Return what a picture shows and which stages it was drawn from, as JSON can hold it."""
    assert declared.drawing is not None
    read = {sig: found for one in sources for sig, found in one.used(drawing.reads).items() if found is not None}
    cells = [
        {"row": one.row.id, "column": one.column.id, "seed": one.seed, "stages": [s.signature for s in one.stages]}
        for one in sources
    ]
    about: dict[str, Any] = output.plain(
        {
            "figure": declared.name,
            "title": declared.title,
            "paper": declared.paper,
            "scale": sources[0].scale,
            "drawing": {"kind": declared.drawing.kind} | drawing.model_dump(),
            "datasets": list(dict.fromkeys(name for one in sources for name in one.stages[-1].datasets)),
            "cells": cells,
            "read": {
                sig: {"kind": found.kind, "label": found.label, "code": found.code, "finished": found.finished}
                for sig, found in read.items()
            },
        }
    )
    return about


def _source_line(about: Mapping[str, Any]) -> str:
    """Return the line below the picture: what it is, from which images, stages and commits."""
    paper = about["paper"]
    after = f", after Figure {paper['figure']} of arXiv:{paper['arxiv']}" if paper["arxiv"] else ""
    codes = [one["code"] for one in about["read"].values()]
    commits = sorted({f"{(code.get('commit') or 'unknown')[:7]}{'+' if code.get('dirty') else ''}" for code in codes})
    stages = list(about["read"])
    shown = ", ".join(stages[:6]) + (f" and {len(stages) - 6} more" if len(stages) > 6 else "")
    noun = "stage" if len(stages) == 1 else "stages"
    images = f"images {', '.join(about['datasets'])}; " if about["datasets"] else ""
    return (
        f"{about['figure']} at scale {about['scale']}{after}: {images}{noun} {shown}; "
        f"commit {', '.join(commits)}{' (+ uncommitted changes)' if any('+' in one for one in commits) else ''}"
    )
