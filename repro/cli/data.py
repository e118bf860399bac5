"""`repro data`: which data sets there are, whether they are whole, and how they get where they are looked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    group.command(
        "prepare", epilog="Example: repro data prepare voc --from ~/downloads/VOCdevkit --root /shared/datasets"
    )(prepare)
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
    output.say("A list of ImageNet's classes: imagenet:<file of synsets>")


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
        str,
        typer.Argument(
            help="voc, airbus, imagenet, imagenet100, objects365, fewshot, percent, semi, coco, bccd, shapes, ships",
            autocompletion=options.complete.families,
        ),
    ],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Folder that holds the data now.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy instead of linking.")] = False,
    root: Root = None,
    as_json: options.Json = False,
) -> None:
    """Put a data set where it is looked for: generate it, or link it from where it lies.

    Nothing is downloaded. --from names a folder with the files as their publishers unpack them:

    - voc: VOCdevkit, with VOC2007, VOC2012 or both
    - airbus: train_v2/ and train_ship_segmentations_v2.csv
    - imagenet, imagenet100: train/, with a folder for each class; imagenet100 needs no --from when imagenet is prepared
    - objects365: annotations/, train/ and val/ of one of its two versions
    - fewshot: TFA's cocosplit/, and coco/train2014 and coco/val2014
    - coco: annotations/, train2017/ and val2017/; percent: writes the image lists of DETReg's 1, 2, 5 and 10 %
    - semi: unlabeled2017/ and its image_info_unlabeled2017.json, or lists of labelled images; writes STAC's five folds

    Killed, it is simply run again: what was done is not done twice. What is published has one fingerprint on every
    machine, which is stored with the hash of the content, so that a later change is noticed.
    """
    from repro.data import datasets

    with _counting() as progress:
        done = datasets.prepare(family, source, root, copy=copy, progress=progress)
    if as_json:
        output.say_json({"family": family, "done": done})
        return
    for line in done:
        output.say(line)


@contextmanager
def _counting() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far it is: a bar on a terminal, elsewhere a line for each tenth of what takes long."""
    if not sys.stderr.isatty():
        yield _Tenths()
        return
    from rich.progress import Progress

    with Progress(console=output.console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show


class _Tenths:
    """Remarks a count whenever another tenth of it is done."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take a count."""
        tenth = 10 * done // max(total, 1)
        if tenth > self.told.get(what, 0):
            self.told[what] = tenth
            output.remark(f"{done:,} of {total:,} {what}")
