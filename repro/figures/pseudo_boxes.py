"""How good a teacher's pseudo boxes are, on images whose labels the training did not see: Soft Teacher, Figure 3.

(a) Precision and recall of the boxes above a foreground score, against that score. (b) The overlap of a box with the
truth against its score; (c) against its variance under jittering. The paper names neither the overlap that counts as
right, nor how boxes are matched, nor which boxes (b) and (c) show; ours: in the order of their scores, each box takes
the object of its own class that it overlaps most among those not yet taken, if by ``iou`` or more, unless it lies on a
crowd; (b) and (c) show the boxes whose variance the method estimates, those above 0.5, with their largest overlap with
any object of their class, taken or not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field

from repro.data import datasets, splits
from repro.engine.inputs import FILES
from repro.errors import FigureError
from repro.figures import _drawing, _paper
from repro.figures._drawing import Data
from repro.figures._images import choose, objects
from repro.figures._source import Source, stage_of
from repro.figures.proposals_at_k import matches, overlaps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = ("score", "variance")
"""What the boxes' overlap is set against."""


class Found(NamedTuple):
    """Pseudo boxes of an image.

    Attributes:
        boxes_xyxy_abs: In pixels of the image's file, [N, 4].
        score: Foreground score, 0…1, [N].
        label: Contiguous class, [N].
        variance: Under jittering (`repro.modeling.box_jitter`), [N]; NaN where the method does not estimate it.
    """

    boxes_xyxy_abs: np.ndarray
    score: np.ndarray
    label: np.ndarray
    variance: np.ndarray


class Judged(NamedTuple):
    """Pseudo boxes of one or more images beside the truth; all arrays [N].

    Attributes:
        score: See `Found`.
        variance: See `Found`.
        right: Whether the box has found an object of its class.
        on_crowd: Whether it has found none but lies on a crowd.
        overlap: Largest IoU with an object of its class; 0 where the image has none.
    """

    score: np.ndarray
    variance: np.ndarray
    right: np.ndarray
    on_crowd: np.ndarray
    overlap: np.ndarray


class Drawing(_drawing.Drawing):
    """Three panels side by side.

    Attributes:
        images: At most so many of the training's unlabelled images, at random.
        seed: Of that draw, and of the jittering.
        thresholds: Foreground scores of (a).
        iou: Overlap from which on a box has found an object.
        chosen: The threshold that the paper takes; marked.
        printed: What the paper says of it, ``precision`` and ``recall`` in percent.
    """

    images: int = Field(default=10_000, ge=1)
    seed: int = 0
    thresholds: tuple[float, ...] = Field(default=tuple(round(0.05 * step, 2) for step in range(1, 20)), min_length=1)
    iou: float = Field(default=0.5, gt=0, le=1)
    chosen: float | None = None
    printed: Mapping[str, float] = {}

    reads: ClassVar[tuple[_drawing.Reads, ...]] = ("model",)

    def gather(self, sources: Sequence[Source]) -> Data:
        """Return a line for each row and threshold, with what was counted, and the boxes of (b) and (c) as arrays."""
        rows, arrays, remarks = [], {}, []
        for source in sources:
            found, total = self._judged(source)
            about = {"row": source.row.id, "label": source.label, "seed": source.seed}
            levels = sorted({*self.thresholds, *([self.chosen] if self.chosen is not None else [])})
            rows += [about | {"threshold": level} | curve_point(found, level, total) for level in levels]
            shown = ~np.isnan(found.variance)
            for name in ("score", "variance", "overlap"):
                arrays[f"{source.row.id}.{source.seed}.{name}"] = getattr(found, name)[shown].astype(np.float32)
            remarks.append(_remark(source, found, shown))
        return Data(rows, arrays, tuple(remarks))

    def _judged(self, source: Source) -> tuple[Judged, int]:
        """Return the boxes of all images together, and the number of objects."""
        images = choose(unlabelled(source), self.images, self.seed)
        if not (total := sum(len(objects(image)) for image in images)):
            raise FigureError(f"the unlabelled images of {source.label} have no objects, so nothing can be recalled")
        find = finder(source, min(self.thresholds))
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            parts = [judge(find(image), image, self.iou) for image in images]
        return Judged(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))), total

    def draw(self, data: Data) -> Figure:
        """Draw (a) as lines in percent, (b) and (c) as points; of several rows (b) and (c) lie on each other."""
        figure = _paper.canvas(_paper.PAGE, 2.1)
        first, *others = figure.subplots(1, 1 + len(PANELS))
        self._curves(first, data)
        for axes, name in zip(others, PANELS, strict=True):
            _points(axes, data, name)
        return figure

    def _curves(self, axes: Axes, data: Data) -> None:
        labels = list(dict.fromkeys(row["label"] for row in data.rows))
        for place, label in enumerate(labels):
            rows = [row for row in data.rows if row["label"] == label]
            for part, name in enumerate(("precision", "recall")):
                look = {"color": _paper.COLOURS[2 * place + part], "marker": _paper.MARKERS[2 * place + part]}
                shown = name if len(labels) == 1 else f"{label}, {name}"
                axes.plot([row["threshold"] for row in rows], [row[name] for row in rows], label=shown, **look)
                if place == 0 and name in self.printed and self.chosen is not None:
                    axes.plot(
                        self.chosen, self.printed[name], linestyle="", fillstyle="none", markersize=8,
                        label=f"{name}, printed", **look,
                    )  # fmt: skip
        axes.set(xlabel="foreground score above", ylabel=f"share at IoU ≥ {self.iou:g}, %", ylim=(0, 100))
        if self.chosen is not None:
            axes.axvline(self.chosen, color="#555555", linewidth=0.8, linestyle="--")
        axes.legend()


def finder(source: Source, above: float) -> Callable[[Mapping[str, Any]], Found]:
    """Return a function from an image to what the teacher of a cell finds in it, boxes above a foreground score.

    Raises:
        FigureError: the cell's model has no teacher whose boxes are measured.
    """
    model = source.model()
    method = getattr(model, "method", None)
    if not hasattr(getattr(method, "regression", None), "jitter"):
        raise FigureError(f"the drawing needs a teacher whose boxes are jittered; {source.label} has none")
    used = method.score_threshold
    wide = copy.copy(method)
    wide.score_threshold = above

    def find(image: Mapping[str, Any]) -> Found:
        sample = source.sample(dict(image))
        (boxes,) = wide.look(model.teacher, [sample]).boxes
        height, width = sample["image"].shape[1:]
        scale = np.array([image["width"] / width, image["height"] / height] * 2)
        xyxy, score, label, variance = (values.double().cpu().numpy() for values in boxes)
        return Found(xyxy * scale, score, label.astype(int), np.where(score > used, variance, np.nan))

    return find


def judge(found: Found, image: Mapping[str, Any], iou: float) -> Judged:
    """Set the pseudo boxes of an image beside its objects, class by class.

    Args:
        found: In any order.
        image: Its dictionary, with ``annotations``.
        iou: See `Drawing`.
    """
    count = len(found.score)
    right, on_crowd, overlap = np.zeros(count, bool), np.zeros(count, bool), np.zeros(count)
    for label in np.unique(found.label):
        own = {"annotations": [entry for entry in image["annotations"] if entry["category_id"] == label]}
        truth, crowds = objects(own), objects(own, crowd=True)
        ranked = np.flatnonzero(found.label == label)
        ranked = ranked[np.argsort(-found.score[ranked], kind="stable")]
        right[ranked], on_crowd[ranked] = matches(found.boxes_xyxy_abs[ranked], truth, crowds, iou)
        if len(truth):
            overlap[ranked] = overlaps(found.boxes_xyxy_abs[ranked], truth).max(1)
    return Judged(found.score, found.variance, right, on_crowd, overlap)


def curve_point(found: Judged, threshold: float, total: int) -> dict[str, float]:
    """Return what is counted above a foreground score, and precision and recall in percent, of ``total`` objects."""
    above = found.score > threshold
    kept, right, crowd = (int((above & flags).sum()) for flags in (np.True_, found.right, found.on_crowd))
    counts = {"kept": kept, "right": right, "on_crowd": crowd, "objects": total}
    return counts | {"precision": 100 * right / max(kept - crowd, 1), "recall": 100 * right / total}


def unlabelled(source: Source) -> list[dict[str, Any]]:
    """Return the images that a cell's training saw without their labels, with these.

    Raises:
        FigureError: its unlabelled images are another data set, of which nobody has labels.
    """
    data = stage_of("model", source.stages).recipe["data"]
    if data["unlabelled"]["dataset"] != "rest":
        raise FigureError(
            f"{source.label} was trained with the images of {data['unlabelled']['dataset']}, which have no labels to "
            "judge pseudo boxes by: a training with a share of the labels is needed"
        )
    labelled = set(splits.load(source.folder("model") / FILES["images"]))
    records = datasets.load(data["dataset"], skip_bad=data["skip_bad"])
    return [record for record in records if record["image_id"] not in labelled]


def _points(axes: Axes, data: Data, name: str) -> None:
    cells = [key.rpartition(".")[0] for key in data.arrays if key.endswith(".overlap")]
    labels = {f"{row['row']}.{row['seed']}": row["label"] for row in data.rows}
    for place, cell in enumerate(cells):
        x, y = data.arrays[f"{cell}.{name}"], data.arrays[f"{cell}.overlap"]
        size = float(np.clip(2000 / max(len(x), 1), 0.2, 6))
        axes.scatter(x, y, s=size, color=_paper.COLOURS[place], linewidths=0, alpha=0.6, label=labels[cell])
    axes.set(
        xlabel={"score": "foreground score", "variance": "box regression variance"}[name],
        ylabel="IoU with the truth",
        ylim=(0, 1),
    )
    if len(cells) > 1:
        axes.legend(markerscale=3)


def _remark(source: Source, found: Judged, shown: np.ndarray) -> str:
    from scipy.stats import spearmanr

    if shown.sum() < 3:
        return f"{source.label}: {int(shown.sum())} boxes above 0.5, too few to set their overlap against anything"
    ranks = {name: spearmanr(getattr(found, name)[shown], found.overlap[shown]).statistic for name in PANELS}
    said = " and ".join(f"{ranks[name]:+.2f} with the {name}" for name in PANELS)
    return f"{source.label}: the overlap of {int(shown.sum()):,} boxes above 0.5 has a rank correlation of {said}"
