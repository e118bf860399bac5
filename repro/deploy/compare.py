"""How far two lists of detections of the same images are apart, whatever the order of equals.

Two libraries round differently, so detections of nearly equal scores may change places, and at the end of the list one
may stand for another. Neither is a difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TOLERANCE = 1e-4
"""Of scores, and of boxes in shares of their image."""


def difference(
    ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], sizes: np.ndarray, tolerance: float = TOLERANCE
) -> float:
    """Return the largest difference of a score or, in shares of the image, of a box side; infinite if one is missing.

    Args:
        ours: labels [B, N], boxes xyxy in pixels [B, N, 4], scores [B, N].
        theirs: the same.
        sizes: (width, height) of each image, [B, 2].
        tolerance: detections whose scores are nearer than this may change places.
    """
    scale = np.tile(np.asarray(sizes, dtype=np.float64), 2)[:, None]
    one, other = (
        [np.asarray(labels), np.asarray(boxes, dtype=np.float64) / scale, np.asarray(scores, dtype=np.float64)]
        for labels, boxes, scores in (ours, theirs)
    )
    if any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return float("inf")
    worst = float(np.abs(one[2] - other[2]).max(initial=0.0))
    for image in range(len(scale)):
        a, b = ([values[image] for values in found] for found in (one, other))
        worst = max(worst, _unmatched(a, b, tolerance), _unmatched(b, a, tolerance))
    return worst


def _unmatched(found: list[np.ndarray], among: list[np.ndarray], tolerance: float) -> float:
    """Largest distance of a detection to the nearest one of its class and score, but for those of the lowest score."""
    labels, boxes, scores = found
    worst = 0.0
    for label, box, score in zip(labels, boxes, scores, strict=True):
        near = (among[0] == label) & (np.abs(among[2] - score) <= tolerance)
        apart = np.abs(among[1][near] - box).max(-1).min(initial=np.inf)
        if apart > tolerance and score <= scores.min() + tolerance:
            continue
        worst = max(worst, float(apart))
    return worst
