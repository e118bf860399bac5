"""Box arithmetic that broadcasts: all pairs for matching, one to one for losses, from the same lines.

Boxes are ``xyxy`` (two corners) or ``cxcywh`` (centre and size); relative boxes are in units of the image.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def cxcywh_to_xyxy(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Centre and size to two corners."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def xyxy_to_cxcywh(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Two corners to centre and size."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def box_iou(a: Float[Tensor, "*#batch 4"], b: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*#batch"]:
    """IoU of xyxy boxes, broadcast over the leading axes. Two boxes without any area have IoU 0 instead of NaN."""
    intersection, union = _overlap(a, b)
    return intersection / union.clamp(min=torch.finfo(union.dtype).tiny)


def generalized_iou(a: Float[Tensor, "*#batch 4"], b: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*#batch"]:
    """Generalised IoU (Rezatofighi et al. 2019, algorithm 1) of xyxy boxes, broadcast over the leading axes.

    For all pairs pass ``a[:, None]`` and ``b[None]``. Two boxes without any area have IoU 0 instead of NaN.
    """
    intersection, union = _overlap(a, b)
    hull = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    tiny = torch.finfo(union.dtype).tiny
    return intersection / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)


def _overlap(
    a: Float[Tensor, "*#batch 4"], b: Float[Tensor, "*#batch 4"]
) -> tuple[Float[Tensor, "*#batch"], Float[Tensor, "*#batch"]]:
    """Areas of intersection and union."""
    intersection = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    return intersection, _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - intersection


def _area(low: Float[Tensor, "*batch 2"], high: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    width, height = (high - low).clamp(min=0).unbind(-1)
    return width * height
