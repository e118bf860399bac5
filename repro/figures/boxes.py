"""Boxes drawn on images: proposals (DETReg, Figure 7), or the best of several methods side by side (Figure 8).

A row of the figure whose last stage is ``propose`` shows its proposals in their order; one with a detector shows what
that finds, best first, each query once and whatever the class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from repro.data.images import read_image
from repro.errors import FigureError
from repro.figures import _drawing, _paper
from repro.figures._detector import ranked
from repro.figures._drawing import Data
from repro.figures._images import SIDES, choose, objects, outline, show
from repro.figures._source import Source, stage_of
from repro.modeling.boxes import cxcywh_to_xyxy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH = "Ground truth"
FEW = 10  # boxes of one method that are told apart without their rank
TALL = 1.8  # inches that an image has at most, or of several on average


class Drawing(_drawing.Drawing):
    """A row for each image, a column for each row of the figure; with one row only, images stand side by side.

    Attributes:
        k: How many boxes of each image; ``objects`` takes as many as it has objects.
        truth: Show these objects, too.
        images: How many images, at random.
        seed: Of that draw.
        image_ids: Images by id, instead.
    """

    k: int | Literal["objects"] = 30
    truth: bool = False
    images: int = Field(default=4, ge=1)
    seed: int = 0
    image_ids: tuple[int, ...] = ()

    reads: ClassVar[tuple[_drawing.Reads, ...]] = ("boxes",)

    def gather(self, sources: Sequence[Source]) -> Data:
        """Return a line for each box that is shown, xyxy in pixels of the image, and the images as arrays.

        Raises:
            FigureError: the rows are of different images, an image is not there, or nothing was found in any of them.
        """
        images = self._chosen(sources)
        arrays = {f"image.{image['image_id']}": read_image(image["file_name"]) for image in images}
        rows = [row for image in images for row in self._lines({"row": "truth", "label": TRUTH}, image, objects(image))]
        rows = rows if self.truth else []
        for source in sources:
            find, about = finder(source), {"row": source.row.id, "label": source.label, "seed": source.seed}
            for image in images:
                rows += self._lines(about, image, find(image)[: self._count(image)])
        if not rows:
            raise FigureError(f"no row has a box in the images {', '.join(str(one['image_id']) for one in images)}")
        return Data(rows, arrays)

    def _chosen(self, sources: Sequence[Source]) -> list[dict[str, Any]]:
        """Return the images that are shown; they have to be in the data sets of all rows."""
        sets = {source.data["dataset"]: source for source in sources}
        if len(sets) > 1:
            raise FigureError(
                f"boxes are shown side by side on the same images; the rows have {', '.join(sorted(sets))}"
            )
        images = sources[0].images()
        labelled = self.truth or self.k == "objects"
        shown = [image for image in images if len(objects(image))] if labelled else images
        return choose(shown, self.images, self.seed, self.image_ids)

    def _count(self, image: dict[str, Any]) -> int:
        return len(objects(image)) if self.k == "objects" else self.k

    def _lines(self, about: dict[str, Any], image: dict[str, Any], boxes: np.ndarray) -> list[dict[str, Any]]:
        return [
            about | {"image_id": image["image_id"], "rank": rank} | dict(zip(SIDES, map(float, box), strict=True))
            for rank, box in enumerate(boxes, 1)
        ]

    def draw(self, data: Data) -> Figure:
        """Draw the images; the more there are of a method's boxes, the thinner, and the first ones brightest."""
        shown = [name.partition(".")[2] for name in data.arrays]
        labels = list(dict.fromkeys(row["label"] for row in data.rows))
        last = max((row["rank"] for row in data.rows), default=1)
        many = last > FEW
        figure, grid = _panels([data.arrays[f"image.{one}"].shape for one in shown], len(labels), 0.45 * many)
        for place, axes in enumerate(grid.flat):
            image, label = shown[place // len(labels)], labels[place % len(labels)]
            title = f"image {image}" if len(labels) == 1 else label if place < len(labels) else ""
            show(axes, data.arrays[f"image.{image}"], title)
            if len(labels) > 1 and place % len(labels) == 0:
                axes.set_ylabel(f"image {image}")
            rows = [row for row in data.rows if (str(row["image_id"]), row["label"]) == (image, label)]
            for row in reversed(rows):  # the best on top
                colour = _palette()((row["rank"] - 1) / (last - 1)) if many else _colour(row)
                outline(axes, [row[side] for side in SIDES], colour, 0.7 if many else 1.2)
        if many:
            _rank_bar(figure, grid, last)
        return figure


def _panels(shapes: Sequence[tuple[int, ...]], methods: int, below: float) -> tuple[Figure, np.ndarray]:
    """Return a figure as wide as a page and its axes, of the images' shapes, so that no gaps are left between them.

    Args:
        shapes: Of the images, (height, width, 3).
        methods: How many stand side by side for each image; one puts the images themselves side by side.
        below: Inches to leave for what else the figure shows.
    """
    if methods == 1:
        widths = [shape[1] / shape[0] for shape in shapes]
        height = min(_paper.PAGE / sum(widths), TALL)
        figure = _paper.canvas(_paper.PAGE, height + 0.35 + below, images=True)
        return figure, figure.subplots(1, len(shapes), squeeze=False, width_ratios=widths)
    heights = [shape[0] / shape[1] for shape in shapes]
    width = min((_paper.PAGE - 0.25) / methods, TALL / float(np.mean(heights)))
    gaps = 0.06 * len(shapes)
    figure = _paper.canvas(_paper.PAGE, width * sum(heights) + gaps + 0.3 + below, images=True)
    return figure, figure.subplots(len(shapes), methods, squeeze=False, height_ratios=heights)


def finder(source: Source) -> Callable[[dict[str, Any]], np.ndarray]:
    """Return the function that finds a source's boxes in an image, best first, xyxy in its pixels, [N, 4]."""
    if stage_of("boxes", source.stages).kind == "propose":
        proposals = source.proposals()
        return lambda image: proposals.boxes(image["image_id"])
    model = source.model()
    return lambda image: detections(model, source.sample(image), image["height"], image["width"])


def detections(model: nn.Module, sample: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Return what a detector finds, whatever the class: each query once, best first, xyxy in pixels, [N, 4]."""
    found = ranked(model, sample["image"])
    boxes = cxcywh_to_xyxy(found.boxes_cxcywh_rel[found.queries])
    return (boxes * torch.tensor([width, height, width, height])).numpy()


def _palette() -> Any:
    import matplotlib

    return matplotlib.colormaps["viridis_r"]


def _colour(row: dict[str, Any]) -> str:
    return _paper.COLOURS[2] if row["label"] == TRUTH else _paper.COLOURS[1]


def _rank_bar(figure: Figure, grid: np.ndarray, last: int) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours = ScalarMappable(Normalize(1, last), _palette())
    bar = figure.colorbar(colours, ax=grid.ravel().tolist(), location="bottom", shrink=0.4, aspect=40, pad=0.02)
    bar.set_label("rank of the proposal, 1 is the best")
    bar.ax.set_xticks([1, last])
