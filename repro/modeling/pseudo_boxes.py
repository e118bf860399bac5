"""What a teacher found in an image, on its way to becoming a student's ground truth (Xu et al. 2021, Section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from .box_jitter import BoxJitter
from .views import project_boxes

Refine = Callable[[Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]
"""From boxes (R×4, xyxy) and classes (R) of each image to the boxes that a teacher's head makes of them (R×4)."""


class PseudoBoxes(NamedTuple):
    """Boxes of one image, xyxy in pixels of one of its views."""

    boxes_xyxy_abs: Float[Tensor, "N 4"]
    scores: Float[Tensor, " N"]
    """Foreground scores: the largest probability of a class."""
    labels: Int64[Tensor, " N"]
    variance: Float[Tensor, " N"] | None = None
    """Box regression variance (Eq. 8), where it was measured."""

    def kept(self, mask: Bool[Tensor, " N"]) -> PseudoBoxes:
        """Those where ``mask`` is true and that have an area."""
        sides = self.boxes_xyxy_abs[:, 2:] - self.boxes_xyxy_abs[:, :2]
        mask = mask & (sides > 0).all(1)
        return PseudoBoxes(*(None if values is None else values[mask] for values in self))

    def projected(self, matrix: Float64[Tensor, "3 3"], size: tuple[int, int]) -> PseudoBoxes:
        """The same in another view, of ``size`` (height, width); see `project_boxes`."""
        return self._replace(boxes_xyxy_abs=project_boxes(self.boxes_xyxy_abs, matrix, size))


class ByVariance:
    """Regression learns from boxes whose regression variance is small, whatever their scores (Section 3.3).

    Args:
        threshold: variance below which a box is reliable.
        jitter: how it is measured.
    """

    def __init__(self, threshold: float = 0.02, jitter: BoxJitter | None = None) -> None:
        self.threshold, self.jitter = threshold, jitter or BoxJitter()

    def measured(self, boxes: Sequence[PseudoBoxes], refine: Refine) -> list[PseudoBoxes]:
        """The same boxes with their variance: all images and jitters are refined in one call."""
        jittered = [self.jitter.jitter(found.boxes_xyxy_abs) for found in boxes]
        labels = [found.labels.repeat(self.jitter.num_jitters) for found in boxes]
        refined = refine([moved.flatten(0, 1) for moved in jittered], labels)
        variances = (
            self.jitter.variance(found.boxes_xyxy_abs, answer.view_as(moved))
            for found, moved, answer in zip(boxes, jittered, refined, strict=True)
        )
        return [found._replace(variance=variance) for found, variance in zip(boxes, variances, strict=True)]

    def reliable(self, boxes: PseudoBoxes) -> Bool[Tensor, " N"]:
        """Which boxes regression learns from."""
        return boxes.variance < self.threshold


class ByScore:
    """Regression learns from boxes of a high score, as classification does: Tables 5, 7 and 8, without jittering."""

    def __init__(self, threshold: float = 0.9) -> None:
        self.threshold = threshold

    def measured(self, boxes: Sequence[PseudoBoxes], refine: Refine) -> list[PseudoBoxes]:
        """The same boxes: nothing is measured."""
        return list(boxes)

    def reliable(self, boxes: PseudoBoxes) -> Bool[Tensor, " N"]:
        """Which boxes regression learns from."""
        return boxes.scores > self.threshold
