"""Losses of set prediction, each summed over everything but the prediction sets, so that callers choose the normaliser.

``D`` counts the sets of predictions that are trained on the same objects: the decoder's layers.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from .boxes import cxcywh_to_xyxy, generalized_iou


def focal_loss(
    logits: Float[Tensor, "D B Q K"], wanted: Float[Tensor, "D B Q K"], alpha: float, gamma: float
) -> Float[Tensor, " D"]:
    """Sigmoid focal loss (Lin et al. 2017, equation 5) of each set; ``wanted`` is 1 at the matched class, else 0."""
    return sigmoid_focal_loss(logits, wanted, alpha=alpha, gamma=gamma).sum((1, 2, 3))


def box_l1_loss(
    boxes: Float[Tensor, "D B T 4"], wanted: Float[Tensor, "B T 4"], matched: Bool[Tensor, "D B T"]
) -> Float[Tensor, " D"]:
    """Sum of absolute differences of the four relative coordinates, over matched objects."""
    return _sum((boxes - wanted).abs().sum(-1), matched)


def box_giou_loss(
    boxes_cxcywh: Float[Tensor, "D B T 4"], wanted_cxcywh: Float[Tensor, "B T 4"], matched: Bool[Tensor, "D B T"]
) -> Float[Tensor, " D"]:
    """Sum of 1 - GIoU over matched objects."""
    giou = generalized_iou(cxcywh_to_xyxy(boxes_cxcywh), cxcywh_to_xyxy(wanted_cxcywh).unsqueeze(0))
    return _sum(1 - giou, matched)


def _sum(per_object: Float[Tensor, "D B T"], matched: Bool[Tensor, "D B T"]) -> Float[Tensor, " D"]:
    # Not a product with the mask: whatever padding holds, even NaN, must not reach the sum.
    return torch.where(matched, per_object, per_object.new_zeros(())).sum((1, 2))
