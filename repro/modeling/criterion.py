"""The set criterion: match, then classification, L1 and GIoU losses on every decoder layer (Carion et al. 2020).

Losses and weights are Deformable DETR's (Zhu et al. 2021, appendix A.3): sigmoid focal loss instead of cross-entropy.
Each layer has its own matching. All layers are computed as one batch; cardinality and class errors, which the published
code logs, are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from .losses import box_giou_loss, box_l1_loss, focal_loss
from .matching import HungarianMatcher, Matches, Targets


class Predictions(NamedTuple):
    """What a DETR predicts, for each of D decoder layers; the last is the answer, the others are trained beside it."""

    logits: Float[Tensor, "D B Q K"]
    boxes_cxcywh_rel: Float[Tensor, "D B Q 4"]
    states: Float[Tensor, "D B Q C"]
    """The decoder's output that the heads read."""

    @property
    def pred_logits(self) -> Float[Tensor, "B Q K"]:
        """The last layer's class logits."""
        return self.logits[-1]

    @property
    def pred_boxes(self) -> Float[Tensor, "B Q 4"]:
        """The last layer's boxes, cxcywh relative to the image."""
        return self.boxes_cxcywh_rel[-1]


class SetCriterion(nn.Module):
    """Weighted losses of predictions against the objects they were matched to.

    Args:
        matcher: assigns queries to objects.
        weight_class: weight of the focal loss.
        weight_bbox: weight of the L1 loss.
        weight_giou: weight of the GIoU loss.
        alpha: focal loss, weight of the positives.
        gamma: focal loss, exponent.
    """

    def __init__(
        self,
        matcher: HungarianMatcher,
        weight_class: float = 2.0,
        weight_bbox: float = 5.0,
        weight_giou: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        super().__init__()
        self.matcher = matcher
        self.weights = {"loss_ce": weight_class, "loss_bbox": weight_bbox, "loss_giou": weight_giou}
        self.alpha, self.gamma = alpha, gamma

    def forward(self, predictions: Predictions, targets: Targets) -> tuple[dict[str, Tensor], Matches]:
        """Losses, weighted and ready to sum, and the matching they rest on.

        The last layer's are named ``loss_ce``, ``loss_bbox``, ``loss_giou``; those of layer i before it end in ``_i``.
        Without any object in the batch the box losses are zero and still connected to the predictions.
        """
        logits, boxes = predictions.logits, predictions.boxes_cxcywh_rel
        # Sums over thousands of terms: never in the half precision that the heads may have computed in.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        matches = self.matcher(logits, boxes, targets)
        wanted = _wanted_classes(logits, targets, matches)
        found = boxes.gather(2, matches.query.unsqueeze(-1).expand(-1, -1, -1, 4))
        wanted_boxes = targets.boxes_cxcywh_rel.to(boxes.dtype)
        losses = {
            "loss_ce": focal_loss(logits, wanted, self.alpha, self.gamma),
            "loss_bbox": box_l1_loss(found, wanted_boxes, matches.matched),
            "loss_giou": box_giou_loss(found, wanted_boxes, matches.matched),
        }
        count = number_of_objects(targets, logits.device)
        per_layer = {name: self.weights[name] * value / count for name, value in losses.items()}
        return _named_by_layer(per_layer), matches


def number_of_objects(targets: Targets, device: torch.device) -> Float[Tensor, ""]:
    """Objects in an average process's batch, at least 1: the normaliser of all losses."""
    count = torch.tensor(float(sum(targets.counts)), device=device)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        count /= dist.get_world_size()
    return count.clamp(min=1)


def _wanted_classes(logits: Float[Tensor, "D B Q K"], targets: Targets, matches: Matches) -> Float[Tensor, "D B Q K"]:
    """1 for the class of the object that a query was matched to, 0 elsewhere."""
    depth, images, _, classes = logits.shape
    labels = targets.labels.expand(depth, -1, -1)
    flat = logits.new_zeros(depth, images, logits.shape[2] * classes)
    # Padding writes 0 by the sum, so it cannot undo what an object wrote at the same place.
    flat.scatter_add_(2, matches.query * classes + labels, matches.matched.to(logits.dtype))
    return flat.view_as(logits)


def _named_by_layer(per_layer: dict[str, Float[Tensor, " D"]]) -> dict[str, Float[Tensor, ""]]:
    named = {}
    for name, values in per_layer.items():
        *auxiliary, last = values.unbind()
        named[name] = last
        named.update({f"{name}_{index}": value for index, value in enumerate(auxiliary)})
    return named
