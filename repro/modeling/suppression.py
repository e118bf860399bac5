"""From scored boxes to detections: a threshold, suppression of overlapping ones class by class, the best of the rest.

`HardNMS` drops what overlaps a better box. `SoftNMS` (Bodla et al., ICCV 2017, arXiv 1704.04503, Fig. 2) lowers its
score instead. Both take boxes [N, 4] (xyxy, any unit), scores [N] and classes [N], and return the numbers of those that
are kept, best first, with their scores.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import batched_nms

METHODS = ("linear", "gaussian")


class HardNMS:
    """Greedy non-maximum suppression.

    Args:
        iou: boxes of one class that overlap a better one by more than this are dropped.
    """

    def __init__(self, iou: float = 0.5) -> None:
        self.iou = iou

    def __call__(
        self, boxes: Float[Tensor, "N 4"], scores: Float[Tensor, " N"], classes: Int64[Tensor, " N"]
    ) -> tuple[Int64[Tensor, " M"], Float[Tensor, " M"]]:
        """See the module."""
        kept = batched_nms(boxes.float(), scores.float(), classes, self.iou)
        return kept, scores[kept]


class SoftNMS:
    """The score of a box falls with its overlap with each better one that is kept before it.

    Args:
        method: ``linear``: times 1 − IoU where the IoU is above ``iou`` (Eq. 2); ``gaussian``: times
            exp(−IoU² / sigma) always (Eq. 3).
        iou: of the linear method.
        sigma: of the gaussian one; published: 0.5.
        min_score: boxes whose score falls below are dropped; published: 0.001.

    Raises:
        ValueError: there is no such method.
    """

    def __init__(self, method: str = "linear", iou: float = 0.5, sigma: float = 0.5, min_score: float = 0.001) -> None:
        if method not in METHODS:
            raise ValueError(f"method is {method!r}; expected one of {METHODS}")
        self.method, self.iou, self.sigma, self.min_score = method, iou, sigma, min_score

    def __call__(
        self, boxes: Float[Tensor, "N 4"], scores: Float[Tensor, " N"], classes: Int64[Tensor, " N"]
    ) -> tuple[Int64[Tensor, " M"], Float[Tensor, " M"]]:
        """See the module. All classes go through it side by side: there are as many steps as the largest has boxes."""
        number, place = _places(classes)
        shape = (int(number.max()) + 1, int(place.max()) + 1) if len(classes) else (0, 0)
        grid = boxes.new_zeros((*shape, 4), dtype=torch.float32)
        left = grid.new_full(shape, -torch.inf)  # −∞: no box there, or done with it
        grid[number, place], left[number, place] = boxes.float(), scores.float()
        final, each = torch.zeros_like(left), torch.arange(shape[0], device=boxes.device)
        for _ in range(shape[1]):
            score, best = left.max(1)
            kept = score >= self.min_score
            if not kept.any():
                break
            final[each[kept], best[kept]] = score[kept]
            left[each, best] = -torch.inf
            factor = self.factor(_iou(grid[each, best][:, None], grid))
            left = torch.where(left.isinf(), left, left * factor)
        found = final[number, place]
        order = found.argsort(descending=True, stable=True)[: int((found > 0).sum())]
        return order, found[order].to(scores.dtype)

    def factor(self, iou: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """What scores are multiplied by."""
        if self.method == "gaussian":
            return torch.exp(-(iou**2) / self.sigma)
        return torch.where(iou > self.iou, 1 - iou, 1.0)


def detections(
    boxes: Float[Tensor, "R 4"],
    probabilities: Float[Tensor, "R K"],
    suppress: HardNMS | SoftNMS,
    score_threshold: float,
    topk: int,
) -> tuple[Int64[Tensor, " N"], Float[Tensor, " N"], Int64[Tensor, " N"]]:
    """The detections that class-agnostic boxes amount to, best first.

    Args:
        boxes: xyxy.
        probabilities: of the classes, the background not among them.
        suppress: how overlapping ones of a class compete.
        score_threshold: only what has more is looked at.
        topk: most detections.

    Returns:
        Numbers of the boxes, scores, classes.
    """
    region, label = (probabilities > score_threshold).nonzero(as_tuple=True)
    kept, scores = suppress(boxes[region], probabilities[region, label], label)
    kept, scores = kept[:topk], scores[:topk]
    return region[kept], scores, label[kept]


def _places(classes: Int64[Tensor, " N"]) -> tuple[Int64[Tensor, " N"], Int64[Tensor, " N"]]:
    """For each box the number of its class among those that occur, and its own number within that class."""
    _, number, counts = classes.unique(return_inverse=True, return_counts=True)
    order = number.argsort(stable=True)
    place = torch.empty_like(number)
    starts = counts.cumsum(0) - counts
    place[order] = torch.arange(len(classes), device=classes.device) - starts[number[order]]
    return number, place


def _iou(a: Float[Tensor, "C _ 4"], b: Float[Tensor, "C N 4"]) -> Float[Tensor, "C N"]:
    """Of one box of each class with all of that class; 0 where both have no area."""
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    area = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    return overlap / (area - overlap).clamp(min=1e-12)
