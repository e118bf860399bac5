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


def largest_iou(boxes: Float[Tensor, "N 4"], others: Float[Tensor, "M 4"]) -> Float[Tensor, " N"]:
    """IoU of each xyxy box with the one of the others that it overlaps most; 0 where there are no others."""
    if not len(others):
        return boxes.new_zeros(len(boxes))
    return box_iou(boxes[:, None], others[None]).amax(1)


def generalized_iou(a: Float[Tensor, "*#batch 4"], b: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*#batch"]:
    """Generalised IoU (Rezatofighi et al. 2019, algorithm 1) of xyxy boxes, broadcast over the leading axes.

    For all pairs pass ``a[:, None]`` and ``b[None]``. Two boxes without any area have IoU 0 instead of NaN.
    """
    intersection, union = _overlap(a, b)
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.unbind(-1), b.unbind(-1)
    hull = _area(torch.minimum(ax0, bx0), torch.minimum(ay0, by0), torch.maximum(ax1, bx1), torch.maximum(ay1, by1))
    tiny = torch.finfo(union.dtype).tiny
    return intersection / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)


def _overlap(
    a: Float[Tensor, "*#batch 4"], b: Float[Tensor, "*#batch 4"]
) -> tuple[Float[Tensor, "*#batch"], Float[Tensor, "*#batch"]]:
    """Areas of intersection and union."""
    # Coordinate by coordinate: over all pairs, operations along a last axis of 2 take twice as long.
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.unbind(-1), b.unbind(-1)
    both = _area(torch.maximum(ax0, bx0), torch.maximum(ay0, by0), torch.minimum(ax1, bx1), torch.minimum(ay1, by1))
    return both, _area(ax0, ay0, ax1, ay1) + _area(bx0, by0, bx1, by1) - both


def _area(
    x0: Float[Tensor, "*batch"], y0: Float[Tensor, "*batch"], x1: Float[Tensor, "*batch"], y1: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Area between corners; 0 where they are the wrong way round."""
    return (x1 - x0).clamp(min=0) * (y1 - y0).clamp(min=0)
