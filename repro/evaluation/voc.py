"""PASCAL VOC average precision of boxes, in percent (Everingham et al. 2010; the protocol of Detectron2's evaluator).

Not COCO's protocol: a detection is right when its overlap with the *nearest* object of its class in the image exceeds
the threshold (strictly) and no better detection claimed that object; it is never given the second nearest instead. One
that is nearest to a ``difficult`` object, which nobody has to find, counts neither way. There is no cap on detections.
``AP`` is the mean over overlaps 0.50 to 0.95 and over classes. Two ways to read a precision-recall curve:

    AP, AP50, AP75                   eleven points of recall, VOC 2007's way: what DETReg's code prints
    AP_area, AP50_area, AP75_area    area under the curve, the way from VOC 2010 on

Detections are rounded as VOC's text files round them: scores to three decimals, boxes to a tenth of a pixel. The
"+ 1" in that protocol's widths belongs to boxes that name their last pixel; for half-open boxes, as here, it is the
same.

All of it is one pass of NumPy over the pairs of a detection and an object of its image and class.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from repro.errors import DataError
from repro.evaluation._boxes import BoxEvaluator, Detections

OVERLAPS = np.arange(50, 100, 5) / 100
RECALLS = np.arange(0.0, 1.1, 0.1)  # VOC's own eleven numbers, with their rounding


class Evaluator(BoxEvaluator):
    """Scores boxes as PASCAL VOC does."""

    def score(self, detections: Detections) -> dict[str, float]:
        """See the module."""
        return score(self.annotation_file, detections)


class Boxes(NamedTuple):
    """Boxes of all images: parallel arrays.

    Attributes:
        group: a number for each pair of image and class, int64 [N].
        category: category id, int64 [N].
        xyxy_abs: float64 [N, 4].
        weight: score of a detection; 1 for an object that counts, 0 for a difficult one. float64 [N].
    """

    group: np.ndarray
    category: np.ndarray
    xyxy_abs: np.ndarray
    weight: np.ndarray


def score(annotation_file: Path, detections: Detections) -> dict[str, float]:
    """The six numbers in percent; NaN where no class has an object that counts.

    Args:
        annotation_file: ground truth, COCO JSON; ``ignore`` marks difficult objects.
        detections: see `repro.evaluation._boxes.Detections`.

    Raises:
        DataError: the ground truth is missing.
    """
    if not Path(annotation_file).is_file():
        raise DataError(f"There are no annotations at {annotation_file}")
    content = json.loads(Path(annotation_file).read_text())
    objects = _objects(content["annotations"])
    found = _detections(detections)
    overlap, nearest = nearest_objects(found, objects)
    per_class = [
        precision_at(found, objects, overlap, nearest, category["id"])
        for category in content["categories"]
        if objects.weight[objects.category == category["id"]].any()
    ]
    if not per_class:
        return dict.fromkeys(_names(), math.nan)
    means = 100 * np.mean(per_class, axis=0)  # [2 ways, 10 overlaps]
    values = [float(value) for way in means for value in (way.mean(), way[0], way[5])]
    return dict(zip(_names(), values, strict=True))


def _names() -> list[str]:
    return [f"{key}{way}" for way in ("", "_area") for key in ("AP", "AP50", "AP75")]


def _objects(annotations: list[dict[str, Any]]) -> Boxes:
    boxes = np.array([entry["bbox"] for entry in annotations], np.float64).reshape(-1, 4)
    counts = np.array([not entry.get("ignore", 0) for entry in annotations], np.float64)
    return _boxes(annotations, boxes, counts)


def _detections(detections: Detections) -> Boxes:
    """Best first; equal scores keep their order."""
    boxes = np.array([entry["bbox"] for entry in detections], np.float64).reshape(-1, 4)
    scores = np.round(np.array([entry["score"] for entry in detections], np.float64), 3)
    found = _boxes(detections, boxes, scores)
    order = np.argsort(-scores, kind="stable")
    rounded = found._replace(xyxy_abs=np.round(found.xyxy_abs, 1))
    return Boxes(*(field[order] for field in rounded))


def _boxes(entries: Detections, xywh_abs: np.ndarray, weight: np.ndarray) -> Boxes:
    image = np.array([entry["image_id"] for entry in entries], np.int64)
    category = np.array([entry["category_id"] for entry in entries], np.int64)
    corners = np.concatenate([xywh_abs[:, :2], xywh_abs[:, :2] + xywh_abs[:, 2:]], axis=1)
    return Boxes(image << 20 | category, category, corners, weight)


def nearest_objects(found: Boxes, objects: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """For each detection the largest overlap with an object of its image and class, and which object that is.

    Returns:
        Overlap, float64 [D], -1 where there is no such object; and index into ``objects``, int64 [D]. Of equally near
        objects the first counts.
    """
    order = np.argsort(objects.group, kind="stable")
    sorted_groups = objects.group[order]
    start = np.searchsorted(sorted_groups, found.group, "left")
    count = np.searchsorted(sorted_groups, found.group, "right") - start
    best = np.full(len(found.group), -1.0)
    nearest = np.zeros(len(found.group), np.int64)
    has = np.flatnonzero(count)
    if not len(has):
        return best, nearest
    detection = np.repeat(has, count[has])  # one entry for each pair, a detection's pairs side by side
    first = np.cumsum(count[has]) - count[has]
    candidate = order[np.repeat(start[has] - first, count[has]) + np.arange(len(detection))]
    overlap = iou(found.xyxy_abs[detection], objects.xyxy_abs[candidate])
    best[has] = np.maximum.reduceat(overlap, first)
    is_best = np.flatnonzero(overlap == best[detection])[::-1]  # backwards: the first of equals is written last
    nearest[detection[is_best]] = candidate[is_best]
    return best, nearest


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of paired half-open xyxy boxes, [N, 4] and [N, 4] to [N]."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    return common / (np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1) - common)


def precision_at(found: Boxes, objects: Boxes, overlap: np.ndarray, nearest: np.ndarray, category: int) -> np.ndarray:
    """Average precision of one class: [2, 10], by eleven points and by area, at each of `OVERLAPS`."""
    mine = np.flatnonzero(found.category == category)
    total = objects.weight[objects.category == category].sum()
    overlap, nearest = overlap[mine], nearest[mine]
    values = np.zeros((2, len(OVERLAPS)))
    for index, threshold in enumerate(OVERLAPS):
        hit = overlap > threshold
        counts = hit & (objects.weight[nearest] > 0) if len(objects.weight) else hit
        claims = np.flatnonzero(counts)
        right = np.zeros(len(mine))
        right[claims[np.unique(nearest[claims], return_index=True)[1]]] = 1  # the best one that claims the object
        wrong = np.where(hit, counts - right, 1.0)
        true, false = np.cumsum(right), np.cumsum(wrong)
        recall, precision = true / total, true / np.maximum(true + false, np.finfo(np.float64).eps)
        values[:, index] = eleven_points(recall, precision), area(recall, precision)
    return values


def eleven_points(recall: np.ndarray, precision: np.ndarray) -> float:
    """Mean over eleven recalls of the best precision at that recall or a higher one."""
    best = np.append(_envelope(precision), 0.0)
    return float(best[np.searchsorted(recall, RECALLS, "left")].mean())


def area(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area under the curve, made monotonic first."""
    return float((np.diff(recall, prepend=0.0) * _envelope(precision)).sum())


def _envelope(precision: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(precision[::-1])[::-1]
