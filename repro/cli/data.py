"""`repro data`: which data sets there are, whether they are whole, and how they get where they are looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from repro.cli import options, output

Root = Annotated[
    Path | None,
    typer.Option(
        "--root", metavar="DIR", help="Folder of data sets. Default: $DETECTRON2_DATASETS, else under $REPRO_OUTPUT."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(
        no_args_is_help=True,
        help="List, check and prepare data sets.",
        epilog="Example: repro data check coco_2017_val",
    )
    group.command("list", epilog="Example: repro data list")(list_)
    group.command("check", epilog="Example: repro data check coco_2017_train coco_2017_val --deep")(check)
    group.command("prepare", epilog="Example: repro data prepare bccd --from ~/downloads/BCCD")(prepare)
    app.add_typer(group, name="data", rich_help_panel="Keep")


def list_(root: Root = None, as_json: options.Json = False) -> None:
    """List all data sets by name, whether they are here, and where they are looked for."""
    from repro.data import datasets
    from repro.data.dataset import datasets_root

    found = [_listed(datasets.find(name, root)) for name in datasets.names(root)]
    if as_json:
        output.say_json({"root": datasets_root(root), "datasets": found})
        return
    grid = output.grid("data set", "", "looked for")
    for one in found:
        grid.add_row(one["name"], one["state"], "\n".join(one["looked_for"]))
    output.show(grid)
    output.say(f"Folder of data sets: {datasets_root(root)}")
    output.say("Any other in COCO or VOC layout: coco:<instances.json>:<image folder>, voc:<folder>:<split>")


def _listed(dataset: Any) -> dict[str, Any]:
    """Return what can be said of a data set without reading it."""
    state = "generated when needed"
    if dataset.looked_for:
        state = "here" if all(path.exists() for path in dataset.looked_for) else "not here"
    return {"name": dataset.name, "state": state, "looked_for": [str(path) for path in dataset.looked_for]}


def check(
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Data sets; all that are here by default.",
            autocompletion=options.complete.datasets,
        ),
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image.")] = False,
    root: Root = None,
    as_json: options.Json = False,
) -> None:
    """Say which files are missing and where they were looked for; verify counts, checksums, boxes and images.

    Ends with 1 when a data set has faults.
    """
    from repro.data import datasets

    chosen = sets or [one for one in datasets.names(root) if _listed(datasets.find(one, root))["state"] == "here"]
    reports = [datasets.inspect(name, root, deep=deep) for name in chosen]
    if as_json:
        output.say_json(reports)
    elif not reports:
        output.say("No data set is here but those that are generated; name one to check it: repro data list")
    else:
        for report in reports:
            for line in _lines(report):
                output.say(line)
    raise typer.Exit(1 if any(report.faults for report in reports) else 0)


def _lines(report: Any) -> list[str]:
    if not report.present:
        return [f"{report.name}: not here"] + [f"  {fault}" for fault in report.faults]
    counts = f"{output.counted(report.images, 'image')}, {output.counted(report.annotations, 'annotation')}"
    word = output.counted(len(report.faults), "fault") if report.faults else "whole"
    lines = [f"{report.name}: {word}; {counts}; fingerprint {report.fingerprint}"]
    lines += [f"  {fault}" for fault in report.faults]
    return lines + [f"  known, left out by every run: {fault}" for fault in report.known]


def prepare(
    family: Annotated[
        str, typer.Argument(help="shapes, coco, voc, bccd, ...", autocompletion=options.complete.families)
    ],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Folder that holds the data now.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy instead of linking.")] = False,
    root: Root = None,
    as_json: options.Json = False,
) -> None:
    """Put a data set where it is looked for: generate it, or link it from where it lies."""
    from repro.data import datasets

    done = datasets.prepare(family, source, root, copy=copy)
    if as_json:
        output.say_json({"family": family, "done": done})
        return
    for line in done:
        output.say(line)
