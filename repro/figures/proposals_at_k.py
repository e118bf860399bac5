"""Precision and recall of the best K region proposals against K, whatever the objects' classes: DETReg, Figure 5.

The paper states neither the overlap nor how precision is counted; ours is COCO's protocol, classes off. In the order of
the proposals, each takes the object that it overlaps most among those not yet taken, if by ``iou`` or more; one that
takes nothing is wrong, unless it lies on a crowd. Counts are pooled over all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pycocotools import mask
from pydantic import Field

from repro.errors import FigureError
from repro.figures import _drawing, _paper
from repro.figures._drawing import Data
from repro.figures._images import objects
from repro.figures._source import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawing(_drawing.Drawing):
    """Two lines a row of the figure.

    Attributes:
        ks: Numbers of proposals kept in each image.
        iou: Overlap from which on a proposal has found an object.
        chosen: The K that the paper takes; marked.
    """

    ks: tuple[int, ...] = Field(default=(1, 2, 5, 10, 20, 30, 50, 100, 200, 500, 1000), min_length=1)
    iou: float = Field(default=0.5, gt=0, le=1)
    chosen: int | None = None

    reads: ClassVar[tuple[_drawing.Reads, ...]] = ("proposals",)

    def gather(self, sources: Sequence[Source]) -> Data:
        """Return a line for each row and K, with what was counted; percentages are of the pooled counts."""
        rows = []
        for source in sources:
            counted = np.zeros((3, max(self.ks)), dtype=np.int64)  # of each rank: kept, right, on a crowd
            proposals, total = source.proposals(), 0
            for image in source.images():
                boxes, truth = proposals.boxes(image["image_id"])[: max(self.ks)], objects(image)
                right, crowd = matches(boxes, truth, objects(image, crowd=True), self.iou)
                counted[:, : len(boxes)] += np.stack([np.ones_like(right), right, crowd])
                total += len(truth)
            if not total:
                raise FigureError(f"{source.data['dataset']} has no objects, so nothing can be recalled")
            for k in sorted(self.ks):
                kept, right, crowd = (int(count) for count in counted[:, :k].sum(1))
                about = {"row": source.row.id, "label": source.label, "seed": source.seed, "k": k}
                counts = {"kept": kept, "right": right, "on_crowd": crowd, "objects": total}
                precision = 100 * right / max(kept - crowd, 1)
                rows.append(about | counts | {"precision": precision, "recall": 100 * right / total})
        return Data(rows)

    def draw(self, data: Data) -> Figure:
        """Draw precision and recall in percent over a logarithmic axis of K."""
        figure = _paper.canvas(_paper.COLUMN, 2.3)
        axes = figure.subplots()
        labels = list(dict.fromkeys(row["label"] for row in data.rows))
        for place, label in enumerate(labels):
            rows = [row for row in data.rows if row["label"] == label]
            for part, name in enumerate(("precision", "recall")):
                look = 2 * place + part
                shown = name if len(labels) == 1 else f"{label}, {name}"
                axes.plot(
                    [row["k"] for row in rows], [row[name] for row in rows], label=shown,
                    color=_paper.COLOURS[look], marker=_paper.MARKERS[look],
                )  # fmt: skip
        ticks = [k for k in sorted(self.ks) if str(k)[0] in "15" or k == self.chosen]
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set(xlabel="proposals kept in each image, K", ylabel=f"share at IoU ≥ {self.iou:g}, %")
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.5)
        if self.chosen is not None:
            axes.axvline(
                self.chosen, color="#555555", linewidth=0.8, linestyle="--", label=f"K = {self.chosen}, the paper's"
            )
        axes.legend()
        return figure


def matches(boxes: np.ndarray, truth: np.ndarray, crowds: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Match the proposals of an image to its objects as COCO does.

    Args:
        boxes: Proposals, best first, xyxy, [N, 4].
        truth: Objects, xyxy, [T, 4].
        crowds: Regions with many objects, xyxy, [C, 4]; overlap is then the part of the proposal that lies in it.
        iou: Least overlap.

    Returns:
        Two boolean arrays [N]: which proposals have found an object, and which have none but lie on a crowd.
    """
    right, on_crowd = np.zeros(len(boxes), dtype=bool), np.zeros(len(boxes), dtype=bool)
    if len(boxes) and len(truth):
        free = overlaps(boxes, truth)
        for rank in np.flatnonzero(free.max(1) >= iou):
            best = int(free[rank].argmax())
            if free[rank, best] >= iou:
                right[rank] = True
                free[:, best] = -1  # taken
    if len(boxes) and len(crowds):
        on_crowd = ~right & (mask.iou(_xywh(boxes), _xywh(crowds), [1] * len(crowds)).max(1) >= iou)
    return right, on_crowd


def overlaps(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the IoU of each of N boxes with each of T objects, xyxy, as [N, T]; neither may be empty."""
    ious: np.ndarray = mask.iou(_xywh(boxes), _xywh(truth), [0] * len(truth))
    return ious


def _xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
