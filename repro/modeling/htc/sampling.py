"""Which boxes a stage is trained on: each stage asks for more overlap than the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.sampling import subsample_labels
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchvision.ops import box_iou


class Samples(NamedTuple):
    """Boxes of one image that a stage is trained on.

    Attributes:
        boxes_xyxy_abs: the boxes.
        classes: what they show; K for the background.
        matched: number of the object that each overlaps most; means nothing for the background.
        is_truth: whether a box is an object's own, put among the proposals.
    """

    boxes_xyxy_abs: Float[Tensor, "R 4"]
    classes: Int64[Tensor, " R"]
    matched: Int64[Tensor, " R"]
    is_truth: Bool[Tensor, " R"]


class StageSampler:
    """Match boxes to objects and draw some of them, in each stage by its own overlap.

    Args:
        num_classes: classes K.
        ious: least IoU with an object, by stage.
        batch_size_per_image: boxes an image.
        positive_fraction: most of them that show an object.
    """

    def __init__(
        self,
        num_classes: int,
        ious: Sequence[float] = (0.5, 0.6, 0.7),
        batch_size_per_image: int = 512,
        positive_fraction: float = 0.25,
    ) -> None:
        self.num_classes, self.batch_size_per_image = num_classes, batch_size_per_image
        self.positive_fraction = positive_fraction
        self.matchers = [Matcher([iou], [0, 1], allow_low_quality_matches=False) for iou in ious]

    @torch.no_grad()
    def __call__(
        self,
        boxes_xyxy_abs: Float[Tensor, "N 4"],
        truth_xyxy_abs: Float[Tensor, "M 4"],
        truth_classes: Int64[Tensor, " M"],
        stage: int,
    ) -> Samples:
        """Draw from boxes, among which the objects' own are put, with torch's global generator."""
        boxes = torch.cat([boxes_xyxy_abs, truth_xyxy_abs])
        is_truth = torch.arange(len(boxes), device=boxes.device) >= len(boxes_xyxy_abs)
        matched, found = self.matchers[stage](box_iou(truth_xyxy_abs, boxes))
        classes = torch.full_like(matched, self.num_classes)
        if len(truth_classes):
            classes = torch.where(found == 1, truth_classes[matched], classes)
        drawn = torch.cat(
            subsample_labels(classes, self.batch_size_per_image, self.positive_fraction, self.num_classes)
        )
        return Samples(boxes[drawn], classes[drawn], matched[drawn], is_truth[drawn])
