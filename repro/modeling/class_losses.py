"""How the classes of matched and unmatched queries are trained: one of the set criterion's seams.

A class loss is called with (logits [D, B, Q, K], boxes [D, B, Q, 4], targets, matches, count), where ``count`` is the
number of objects in an average process's batch, and returns [D], the normalised loss of each set of predictions.
``boxes`` (cxcywh, relative) are there for losses that want the quality of a box in the score of its class.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .boxes import box_iou, cxcywh_to_xyxy
from .losses import focal_loss
from .matching import Matches, Targets

ClassLoss = Callable[[Tensor, Tensor, Targets, Matches, Tensor], Tensor]


class FocalLoss:
    """Sigmoid focal loss of every query and class, divided by the number of objects (Deformable DETR).

    Args:
        alpha: weight of the positives.
        gamma: exponent.
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0) -> None:
        self.alpha, self.gamma = alpha, gamma

    def __call__(
        self,
        logits: Float[Tensor, "D B Q K"],
        boxes: Float[Tensor, "D B Q 4"],
        targets: Targets,
        matches: Matches,
        count: Float[Tensor, ""],
    ) -> Float[Tensor, " D"]:
        """The loss; unmatched queries are negatives of all classes."""
        wanted = wanted_scores(logits, targets, matches, matches.matched.to(logits.dtype))
        return focal_loss(logits, wanted, self.alpha, self.gamma) / count


class CrossEntropyLoss:
    """Cross-entropy of a softmax whose last class is "no object", the wanted one of all unmatched queries.

    Carion et al. 2020, Section 3.1. It is the weighted mean over the queries of this process's batch, as published, and
    not divided by the number of objects.

    Args:
        no_object_weight: weight of unmatched queries, which are by far the most; published: 0.1.
    """

    def __init__(self, no_object_weight: float = 0.1) -> None:
        self.no_object_weight = no_object_weight

    def __call__(
        self,
        logits: Float[Tensor, "D B Q K"],
        boxes: Float[Tensor, "D B Q 4"],
        targets: Targets,
        matches: Matches,
        count: Float[Tensor, ""],
    ) -> Float[Tensor, " D"]:
        """The loss."""
        no_object = logits.shape[-1] - 1
        wanted = torch.full(logits.shape[:3], no_object, device=logits.device)
        # A sum, so that padding, which points at query 0, cannot undo what an object wrote there.
        step = (targets.labels - no_object).expand_as(matches.query) * matches.matched
        wanted.scatter_add_(2, matches.query, step)
        each = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="none").view(wanted.shape)
        weight = torch.ones_like(each).masked_fill(wanted == no_object, self.no_object_weight)
        return (each * weight).sum((1, 2)) / weight.sum((1, 2))


class VarifocalLoss:
    """The class score is to be the IoU of the query's box with its object (Zhang et al. 2021, equation 2; RT-DETR).

    Binary cross-entropy against the IoU q at the matched class and against 0 elsewhere; the former is weighted with q,
    the latter with alpha · p^gamma. Summed over queries and classes, divided by the number of objects. No gradient
    flows into the weights, nor through q into the boxes.

    Args:
        alpha: weight of the negatives.
        gamma: exponent.
    """

    def __init__(self, alpha: float = 0.75, gamma: float = 2.0) -> None:
        self.alpha, self.gamma = alpha, gamma

    def __call__(
        self,
        logits: Float[Tensor, "D B Q K"],
        boxes: Float[Tensor, "D B Q 4"],
        targets: Targets,
        matches: Matches,
        count: Float[Tensor, ""],
    ) -> Float[Tensor, " D"]:
        """The loss; unmatched queries are negatives of all classes."""
        quality = matched_iou(boxes.detach(), targets, matches)
        positive = wanted_scores(logits, targets, matches, matches.matched.to(logits.dtype)) > 0
        wanted = wanted_scores(logits, targets, matches, quality)
        weight = torch.where(positive, wanted, self.alpha * logits.detach().sigmoid() ** self.gamma)
        each = F.binary_cross_entropy_with_logits(logits, wanted, weight, reduction="none")
        return each.sum((1, 2, 3)) / count


def matched_iou(boxes: Float[Tensor, "D B Q 4"], targets: Targets, matches: Matches) -> Float[Tensor, "D B T"]:
    """IoU of each object with the box of the query that it was matched to; 0 where it was matched to none."""
    found = cxcywh_to_xyxy(boxes.gather(2, matches.query.unsqueeze(-1).expand(-1, -1, -1, 4)))
    return box_iou(found, cxcywh_to_xyxy(targets.boxes_cxcywh_rel.to(found))) * matches.matched


def wanted_scores(
    logits: Float[Tensor, "D B Q K"], targets: Targets, matches: Matches, score: Float[Tensor, "D B T"]
) -> Float[Tensor, "D B Q K"]:
    """``score`` of an object at its class of the query that it was matched to, 0 elsewhere.

    Args:
        logits: for their shape and type.
        targets: the objects.
        matches: the queries that they were matched to.
        score: what each object's query is to answer; must be 0 for objects without a match.
    """
    depth, images, queries, classes = logits.shape
    labels = targets.labels.expand(depth, -1, -1)
    flat = logits.new_zeros(depth, images, queries * classes)
    # A sum, so that padding, which points at query 0, cannot undo what an object wrote there.
    flat.scatter_add_(2, matches.query * classes + labels, score.to(logits.dtype))
    return flat.view_as(logits)
