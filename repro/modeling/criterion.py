"""The set criterion: match, then classification, L1 and GIoU losses on every decoder layer (Carion et al. 2020).

By default losses and weights are Deformable DETR's (Zhu et al. 2021, appendix A.3): sigmoid focal loss instead of
cross-entropy; DETR's are named in its recipes. Each layer has its own matching. All layers are computed as one batch;
cardinality and class errors, which the published code logs, are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from .class_losses import ClassLoss, FocalLoss
from .losses import box_giou_loss, box_l1_loss
from .matching import HungarianMatcher, Matches, Targets
from .transformer.queries import TokenPredictions


class Predictions(NamedTuple):
    """What a DETR predicts, for each of D decoder layers; the last is the answer, the others are trained beside it."""

    logits: Float[Tensor, "D B Q K"]
    boxes_cxcywh_rel: Float[Tensor, "D B Q 4"]
    states: Float[Tensor, "D B Q C"]
    """The decoder's output that the heads read."""
    encoder: TokenPredictions | None = None
    """What a two-stage detector says of its encoder's tokens; trained to tell objects of any class from the rest."""

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
        weight_class: weight of the classification loss.
        weight_bbox: weight of the L1 loss.
        weight_giou: weight of the GIoU loss.
        alpha: weight of the positives, of the default classification loss.
        gamma: exponent, of the default classification loss.
        class_loss: the classification loss; default :class:`FocalLoss`.
    """

    def __init__(
        self,
        matcher: HungarianMatcher,
        weight_class: float = 2.0,
        weight_bbox: float = 5.0,
        weight_giou: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
        class_loss: ClassLoss | None = None,
    ) -> None:
        super().__init__()
        self.matcher = matcher
        self.weights = {"loss_ce": weight_class, "loss_bbox": weight_bbox, "loss_giou": weight_giou}
        self.class_loss = class_loss or FocalLoss(alpha, gamma)

    def forward(self, predictions: Predictions, targets: Targets) -> tuple[dict[str, Tensor], Matches]:
        """Losses, weighted and ready to sum, and the matching they rest on.

        The last layer's are named ``loss_ce``, ``loss_bbox``, ``loss_giou``; those of layer i before it end in ``_i``,
        those of a two-stage detector's encoder in ``_enc``; there all objects are of class 0 (Zhu et al. 2021, A.4).
        Without any object in the batch the box losses are zero and still connected to the predictions.
        """
        per_layer, matches = self.of_sets(predictions.logits, predictions.boxes_cxcywh_rel, targets)
        losses = named_by_layer(per_layer)
        if predictions.encoder is not None:
            sets = (value.unsqueeze(0) for value in predictions.encoder)
            found, _ = self.of_sets(*sets, targets._replace(labels=torch.zeros_like(targets.labels)))
            losses |= {f"{name}_enc": value[0] for name, value in found.items()}
        return losses, matches

    def of_sets(
        self, logits: Float[Tensor, "D B Q K"], boxes: Float[Tensor, "D B Q 4"], targets: Targets
    ) -> tuple[dict[str, Float[Tensor, " D"]], Matches]:
        """Weighted losses of each set of predictions, each matched on its own, and the matching."""
        matches = self.matcher(_single(logits), boxes, targets)
        count = number_of_objects(targets, logits.device)
        return self.of_matches(logits, boxes, targets, matches, count), matches

    def of_matches(
        self,
        logits: Float[Tensor, "D B Q K"],
        boxes: Float[Tensor, "D B Q 4"],
        targets: Targets,
        matches: Matches,
        count: Float[Tensor, ""],
    ) -> dict[str, Float[Tensor, " D"]]:
        """Weighted losses of each set of predictions for a matching that is known, divided by ``count``."""
        logits = _single(logits)
        found = boxes.gather(2, matches.query.unsqueeze(-1).expand(-1, -1, -1, 4))
        wanted_boxes = targets.boxes_cxcywh_rel.to(boxes.dtype)
        l1, giou = (loss(found, wanted_boxes, matches.matched) for loss in (box_l1_loss, box_giou_loss))
        return {
            "loss_ce": self.weights["loss_ce"] * self.class_loss(logits, boxes, targets, matches, count),
            "loss_bbox": self.weights["loss_bbox"] * l1 / count,
            "loss_giou": self.weights["loss_giou"] * giou / count,
        }


def _single(logits: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Sums over thousands of terms: never in the half precision that the heads may have computed in."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def number_of_objects(targets: Targets, device: torch.device) -> Float[Tensor, ""]:
    """Objects in an average process's batch, at least 1: the normaliser of all losses."""
    count = torch.tensor(float(sum(targets.counts)), device=device)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        count /= dist.get_world_size()
    return count.clamp(min=1)


def named_by_layer(per_layer: dict[str, Float[Tensor, " D"]]) -> dict[str, Float[Tensor, ""]]:
    """One entry a layer: the last has the loss's own name, layer i before it the suffix ``_i``."""
    named = {}
    for name, values in per_layer.items():
        *auxiliary, last = values.unbind()
        named[name] = last
        named.update({f"{name}_{index}": value for index, value in enumerate(auxiliary)})
    return named
