"""Figures of papers, one kind of drawing a file. The folder is the registry, as it is for metrics.

A module here has a class ``Drawing`` (`repro.figures._drawing.Drawing`): its fields are what a figure's file may set
under ``draw:``, and it has two steps. ``gather`` works out the numbers from finished stages; ``draw`` makes the picture
from these numbers alone. A figure of a kind that exists is one file in ``benchmarks/``; a new kind is one file here.

This stands above the engine: a drawing may build a trained detector and look at images with it. What it draws from is
said by ``reads``, so that it is known before anything is loaded which stages have to be there.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import FigureError, collect
from repro.figures._drawing import Data, Drawing
from repro.figures._source import Source, stage_of
from repro.harness import places
from repro.harness.table_schema import check

if TYPE_CHECKING:
    from repro.harness.plan import Plan
    from repro.harness.table import Table

__all__ = ["Data", "Drawing", "Source", "keep", "load", "sources"]


def load(figure: Table) -> Drawing:
    """Return the drawing of a figure, with what its file sets.

    Raises:
        FigureError: it is a table and no figure, or sets what its kind of drawing does not have: all faults at once.
    """
    if figure.drawing is None:
        raise FigureError(f"{figure.name} is a table, not a figure; set it beside its paper: repro diff {figure.name}")
    kind: type[Drawing] = importlib.import_module(f"repro.figures.{figure.drawing.kind}").Drawing
    made, faults = check(kind, figure.drawing.settings)
    collect([f"draw: {what}" for _, what in faults], places.shown(figure.path), FigureError)
    assert made is not None
    return made


def keep(plan: Plan, drawing: Drawing) -> frozenset[str]:
    """Return the stages whose files a figure is drawn from; of the others the records are enough."""
    found = {
        stage_of(what, [plan.stages[signature] for signature in cell.stages]).signature
        for cell in plan.cells
        for what in drawing.reads
        if what != "scores"
    }
    return frozenset(found)


def sources(figure: Table, plan: Plan, output_root: Path, records: Path, device: str | None = None) -> Sequence[Source]:
    """Return what a figure is drawn from: the cells of its plan, with where their stages have left what."""
    return [
        Source(
            row=figure.row(cell.row),
            column=figure.column(cell.column),
            seed=cell.seed,
            metric=cell.metric,
            stages=tuple(plan.stages[signature] for signature in cell.stages),
            output_root=output_root,
            records=records,
            device=device,
            baseline=cell.row == figure.baseline,
        )
        for cell in plan.cells
    ]
