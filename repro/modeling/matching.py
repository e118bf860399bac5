"""Bipartite matching of queries to objects (Carion et al. 2020, Section 3.1; costs of Deformable DETR).

All decoder layers and images of a step are matched together: one cost tensor [layers, images, queries, most objects] is
built on the device and brought to the host once, where scipy solves each matrix exactly. The published code builds the
costs of every query to every object of the *batch*, of which all but one in B are thrown away, and waits for the device
once for each layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .boxes import cxcywh_to_xyxy, generalized_iou
from .class_costs import ClassCost, FocalCost


class Targets(NamedTuple):
    """The objects of a batch, padded to the image with most of them."""

    labels: Int64[Tensor, "B T"]
    boxes_cxcywh_rel: Float[Tensor, "B T 4"]
    counts: tuple[int, ...]
    """Number of objects in each image; the rest is padding."""

    @classmethod
    def pad(cls, labels: Sequence[Tensor], boxes_cxcywh_rel: Sequence[Tensor]) -> Targets:
        """Put one list entry an image, [N] and [N, 4], side by side; images may be empty."""
        return cls(
            labels=pad_sequence(list(labels), batch_first=True),
            boxes_cxcywh_rel=pad_sequence(list(boxes_cxcywh_rel), batch_first=True),
            counts=tuple(len(entry) for entry in labels),
        )


class Matches(NamedTuple):
    """Which query predicts which object, for D sets of predictions over the same targets."""

    query: Int64[Tensor, "D B T"]
    """The query matched to each object, 0 where ``matched`` is false."""
    matched: Bool[Tensor, "D B T"]
    """False for padding, and for objects that were left over because there are fewer queries than objects."""

    def repeated(self, sets: int) -> Matches:
        """The one matching of D = 1, for as many sets of predictions."""
        return Matches(self.query.expand(sets, -1, -1), self.matched.expand(sets, -1, -1))


class HungarianMatcher(nn.Module):
    """Finds the one-to-one assignment of least total cost; has no parameters and passes no gradient.

    Args:
        cost_class: weight of the classification cost.
        cost_bbox: weight of the L1 distance between relative boxes.
        cost_giou: weight of the negative generalised IoU.
        alpha: weight of the positives, of the default classification cost.
        gamma: exponent, of the default classification cost.
        class_cost: the classification cost; default :class:`FocalCost`.
    """

    def __init__(
        self,
        cost_class: float = 2.0,
        cost_bbox: float = 5.0,
        cost_giou: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
        class_cost: ClassCost | None = None,
    ) -> None:
        super().__init__()
        self.cost_class, self.cost_bbox, self.cost_giou = cost_class, cost_bbox, cost_giou
        self.class_cost = class_cost or FocalCost(alpha, gamma)

    @torch.no_grad()
    def forward(
        self, logits: Float[Tensor, "D B Q K"], boxes_cxcywh_rel: Float[Tensor, "D B Q 4"], targets: Targets
    ) -> Matches:
        """Match each of the D sets of predictions on its own."""
        cost = self.cost(logits, boxes_cxcywh_rel, targets).cpu().numpy()  # the one transfer of a step
        query = np.zeros((*cost.shape[:2], cost.shape[3]), dtype=np.int64)
        matched = np.zeros(query.shape, dtype=bool)
        for layer, image in np.ndindex(cost.shape[:2]):
            rows, columns = _assign(cost[layer, image, :, : targets.counts[image]])
            query[layer, image, columns] = rows
            matched[layer, image, columns] = True
        device = logits.device
        return Matches(torch.from_numpy(query).to(device), torch.from_numpy(matched).to(device))

    def cost(
        self, logits: Float[Tensor, "D B Q K"], boxes_cxcywh_rel: Float[Tensor, "D B Q 4"], targets: Targets
    ) -> Float[Tensor, "D B Q T"]:
        """Cost of each query for each object of its own image; columns of padding are meaningless."""
        single = torch.promote_types(boxes_cxcywh_rel.dtype, torch.float32)  # half precision would make ties
        logits, boxes = logits.to(single), boxes_cxcywh_rel.to(single)
        wanted = targets.boxes_cxcywh_rel.to(boxes)
        giou = generalized_iou(cxcywh_to_xyxy(boxes).unsqueeze(3), cxcywh_to_xyxy(wanted).unsqueeze(1))
        cost = self.class_cost(logits, targets.labels) * self.cost_class
        cost += self._distance(boxes, wanted) * self.cost_bbox
        cost -= giou * self.cost_giou
        # Diverged predictions must reach the loss, which names them, instead of stopping the solver here.
        return cost.nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6)

    @staticmethod
    def _distance(boxes: Float[Tensor, "D B Q 4"], wanted: Float[Tensor, "B T 4"]) -> Float[Tensor, "D B Q T"]:
        if boxes.is_cuda:  # cdist is slow there; on a CPU it is faster than the broadcast difference
            return (boxes.unsqueeze(3) - wanted[:, None]).abs().sum(-1)
        return torch.cdist(boxes, wanted, p=1)


def _assign(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(cost)
