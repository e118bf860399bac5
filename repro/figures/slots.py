"""Where each object query puts its boxes over a data set: DETReg, Figure 6, after DETR (Carion et al. 2020), Figure 7.

Each square is one query ("slot") and each point in it the centre of its box in one image, whatever the score. Points
say what shape the box has. The paper tells square, large horizontal and large vertical boxes apart and not by which
rule; ours: a box is wide or tall when one of its sides, each relative to the image, is ``ratio`` times the other, and
large when it covers ``large`` of the image; what is neither wide nor tall, or not large, counts as square.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from repro.errors import FigureError
from repro.figures import _drawing, _paper
from repro.figures._detector import ranked
from repro.figures._drawing import Data
from repro.figures._source import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPES = {"square or small": (2, "s"), "large, wide": (1, "_"), "large, tall": (0, "|")}
"""What a legend calls a shape, to its place in the palette (the paper's green, orange and blue) and its marker."""


class Drawing(_drawing.Drawing):
    """A row of squares for each row of the figure.

    Attributes:
        slots: How many queries are drawn at random.
        seed: Of that draw.
        queries: Queries by number, instead; the paper's were chosen by hand.
        images: At most so many images, evenly spread over the data set; all by default.
        ratio: See above.
        large: See above.
    """

    slots: int = Field(default=10, ge=1)
    seed: int = 0
    queries: tuple[int, ...] = ()
    images: int | None = Field(default=None, ge=1)
    ratio: float = Field(default=1.5, gt=1)
    large: float = Field(default=0.1, ge=0, le=1)

    reads: ClassVar[tuple[_drawing.Reads, ...]] = ("model",)

    def gather(self, sources: Sequence[Source]) -> Data:
        """Return a line for each row, image and query: the box, cxcywh relative to the image, and its shape."""
        rows = []
        for source in sources:
            images = source.images()
            step = 1 if self.images is None else max(len(images) / self.images, 1)
            kept = [images[int(place)] for place in np.arange(0, len(images), step)]
            model = source.model()
            for image in kept:
                boxes = ranked(model, source.sample(image)["image"]).boxes_cxcywh_rel.tolist()
                about = {
                    "row": source.row.id,
                    "label": source.label,
                    "seed": source.seed,
                    "image_id": image["image_id"],
                }
                rows += [about | {"slot": query} | self._box(boxes[query]) for query in self._chosen(len(boxes))]
        return Data(rows)

    def _chosen(self, count: int) -> tuple[int, ...]:
        if unknown := [query for query in self.queries if query >= count]:
            raise FigureError(f"draw: queries {unknown} are named; the detector has {count}, from 0 on")
        drawn = np.random.default_rng(self.seed).permutation(count)[: self.slots]
        return self.queries or tuple(sorted(int(query) for query in drawn))

    def _box(self, box_cxcywh_rel: Sequence[float]) -> dict[str, Any]:
        cx, cy, width, height = (round(float(value), 5) for value in box_cxcywh_rel)
        box = {"cx": cx, "cy": cy, "width": width, "height": height}
        return box | {"shape": shape(width, height, self.ratio, self.large)}

    def draw(self, data: Data) -> Figure:
        """Draw a square for each slot, the image's top left in its top left corner."""
        labels = list(dict.fromkeys(row["label"] for row in data.rows))
        slots = {label: sorted({row["slot"] for row in data.rows if row["label"] == label}) for label in labels}
        columns = max(map(len, slots.values()))
        side = (_paper.PAGE - 0.3) / columns
        figure = _paper.canvas(_paper.PAGE, len(labels) * (side + 0.15) + 0.4, images=True)
        grid = figure.subplots(len(labels), columns, squeeze=False)
        for axes in grid.flat:
            axes.set(xlim=(0, 1), ylim=(1, 0), aspect="equal", xticks=[], yticks=[])
        for across, label in zip(grid, labels, strict=True):
            across[0].set_ylabel(textwrap.fill(label, 14))
            for axes, slot in zip(across, slots[label], strict=False):
                axes.set_title(f"query {slot}", fontsize=6, pad=2)
                _scatter(axes, [row for row in data.rows if (row["label"], row["slot"]) == (label, slot)])
                for spine in axes.spines.values():
                    spine.set_visible(True)
        figure.legend(handles=_handles(), loc="outside upper right", ncols=3)
        return figure


def shape(width: float, height: float, ratio: float, large: float) -> str:
    """Return a key of `SHAPES`; sides are relative to the image."""
    square, wide, tall = SHAPES
    if width * height < large:
        return square
    return wide if width >= ratio * height else tall if height >= ratio * width else square


def _scatter(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    size = float(np.clip(300 / max(len(rows), 1), 0.3, 8))
    for name, (colour, marker) in SHAPES.items():
        points = [(row["cx"], row["cy"]) for row in rows if row["shape"] == name]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, s=size, color=_paper.COLOURS[colour], marker=marker, linewidths=0.5)


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], linestyle="", marker=marker, markeredgewidth=1.2, color=_paper.COLOURS[colour], label=name)
        for name, (colour, marker) in SHAPES.items()
    ]
