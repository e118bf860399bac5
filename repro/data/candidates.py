"""Boxes that might be objects, and the order in which they are tried.

Selective Search finds a box once for every region that has it, each at a level of some merging hierarchy; OpenCV ranks
a box by the least of its U(0, 1) × level, so what is kept of a box are the levels of all its regions. Methods that find
a box once give it one number, or none that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

WEIGHTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "level": lambda levels: levels,
    "depth": lambda levels: np.cbrt(1 + levels),
    "opencv": lambda levels: np.cbrt(1 + levels),
    "image_id": np.ones_like,
}
"""Ranking to what U(0, 1) is multiplied with. A ranking that is missing here is an order that is never drawn anew."""


class Candidates(NamedTuple):
    """What was found in one image.

    Attributes:
        boxes: int64 [N, 4] xyxy in pixels of the image that was searched, all different, best first.
        counts: int64 [N], how many regions have this box.
        levels: int64 [M], levels of the first box's regions, of the second one's, …
    """

    boxes: np.ndarray
    counts: np.ndarray
    levels: np.ndarray

    def ordered(self, order: np.ndarray) -> Candidates:
        """The boxes at these positions, in this order."""
        counts = self.counts[order]
        shift = (np.cumsum(self.counts) - self.counts)[order] - (np.cumsum(counts) - counts)
        return Candidates(self.boxes[order], counts, self.levels[np.arange(counts.sum()) + np.repeat(shift, counts)])


def distinct(boxes: np.ndarray, levels: np.ndarray) -> Candidates:
    """Candidates of regions that may share a box, sorted by box: [M, 4] and [M]."""
    order = np.lexsort((levels, *boxes.T[::-1]))
    boxes, levels = boxes[order].astype(np.int64), levels[order].astype(np.int64)
    first = np.ones(len(boxes), bool)
    first[1:] = (boxes[1:] != boxes[:-1]).any(1)
    starts = np.flatnonzero(first)
    return Candidates(boxes[starts], np.diff(starts, append=len(boxes)), levels)


def single(boxes: np.ndarray, levels: np.ndarray | None = None) -> Candidates:
    """Candidates that were found once each: [N, 4] and [N]; without levels, level 1."""
    ones = np.ones(len(boxes), np.int64)
    return Candidates(boxes.astype(np.int64), ones, ones if levels is None else levels.astype(np.int64))


def rank(counts: np.ndarray, levels: np.ndarray, ranking: str, rng: np.random.Generator) -> np.ndarray:
    """Order of boxes, best first: ascending least U(0, 1) × weight over the regions of a box.

    Args:
        counts: [N], see `Candidates`.
        levels: [M].
        ranking: One of `WEIGHTS`; any other keeps the order.
        rng: Where U comes from.
    """
    if ranking not in WEIGHTS or not len(counts):
        return np.arange(len(counts))
    draws = rng.random(len(levels)) * WEIGHTS[ranking](levels.astype(np.float64))
    return np.argsort(np.minimum.reduceat(draws, np.cumsum(counts) - counts), kind="stable")


def squashed(image: np.ndarray, size: int | None, channel_order: str) -> np.ndarray:
    """An RGB image as a method wants it: squashed to a square, aspect ignored, if `size` says so; RGB or BGR."""
    if size is not None and image.shape[:2] != (size, size):
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(image[..., ::-1] if channel_order == "BGR" else image)
