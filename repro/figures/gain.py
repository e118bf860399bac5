"""The gain of each row over the baseline against a number in the columns' labels: DETReg, Figure 3."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repro.errors import FigureError
from repro.figures import _drawing, _paper
from repro.figures._drawing import Data
from repro.figures._source import Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Drawing(_drawing.Drawing):
    """Lines over a logarithmic axis; a seed's gain is over the baseline's run with the same seed.

    Attributes:
        x: What the columns' labels count.
        y: What the metric is called.
        printed: Row id to column id to what the paper says of the gain there; shown hollow, at scale paper only, since
            a gain on other images is no reference.
    """

    x: str
    y: str = "AP"
    printed: Mapping[str, Mapping[str, float]] = {}

    reads: ClassVar[tuple[_drawing.Reads, ...]] = ("scores",)
    partial: ClassVar[bool] = True

    def gather(self, sources: Sequence[Source]) -> Data:
        """Return a line for each row, column and seed that has a score and whose baseline has one."""
        scores = {(one.row.id, one.column.id, one.seed): one.score() for one in sources}
        base = {
            (one.column.id, one.seed): scores[one.row.id, one.column.id, one.seed] for one in sources if one.baseline
        }
        rows, missing = [], []
        for one in sources:
            score, baseline = scores[one.row.id, one.column.id, one.seed], base.get((one.column.id, one.seed))
            if score is None or baseline is None:
                missing.append(f"{one.row.id}/{one.column.id} seed {one.seed}")
            else:
                about = {"row": one.row.id, "label": one.label, "baseline": one.baseline}
                about |= {"column": one.column.id, "x": _number(one)}
                printed = self.printed.get(one.row.id, {}).get(one.column.id) if one.scale == "paper" else None
                rows.append(about | {"seed": one.seed, "score": score, "gain": score - baseline, "printed": printed})
        if all(row["baseline"] for row in rows):
            raise FigureError("no row has a score beside one of the baseline's with the same column and seed")
        return Data(rows, remarks=(f"not drawn, for want of scores: {', '.join(missing)}",) if missing else ())

    def draw(self, data: Data) -> Figure:
        """Draw mean and standard deviation over seeds; the baseline is the line at 0."""
        figure = _paper.canvas(_paper.COLUMN, 2.7)
        axes = figure.subplots()
        baseline = next(row["label"] for row in data.rows if row["baseline"])
        axes.axhline(0, color="#555555", linewidth=0.8, linestyle="--", label=f"{baseline} (baseline)")
        ids = list(dict.fromkeys(row["row"] for row in data.rows if not row["baseline"]))
        for place, row in enumerate(ids):
            self._line(axes, [one for one in data.rows if one["row"] == row], place)
        ticks = sorted({row["x"] for row in data.rows})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set(xlabel=self.x, ylabel=f"Δ{self.y} over {baseline}, points")
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.5)
        lines = len(axes.get_legend_handles_labels()[1])
        figure.legend(loc="outside upper center", ncols=3 if lines <= 3 else 2, columnspacing=1)
        return figure

    def _line(self, axes: Axes, rows: Sequence[Mapping[str, Any]], place: int) -> None:
        by_x: dict[float, list[float]] = defaultdict(list)
        for row in rows:
            by_x[row["x"]].append(row["gain"])
        xs = sorted(by_x)
        means = [float(np.mean(by_x[x])) for x in xs]
        spreads = [float(np.std(by_x[x], ddof=1)) if len(by_x[x]) > 1 else 0.0 for x in xs]
        look = {"color": _paper.COLOURS[place], "marker": _paper.MARKERS[place]}
        axes.errorbar(xs, means, spreads if any(spreads) else None, capsize=2, label=rows[0]["label"], **look)
        printed = [(row["x"], row["printed"]) for row in rows if row["printed"] is not None]
        if printed:
            x, gain = zip(*printed, strict=True)
            axes.plot(
                x, gain, linestyle="", fillstyle="none", markersize=7, label=f"{rows[0]['label']}, printed", **look
            )


def _number(source: Source) -> float:
    try:
        return float(source.column.label.replace(",", ""))
    except ValueError:
        raise FigureError(f"column {source.column.id}: its label is {source.column.label!r}, not a number") from None
