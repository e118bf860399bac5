"""Box heads of a cascade: classes, and class-agnostic refinements that each stage measures by finer deviations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.roi_heads.box_head import FastRCNNConvFCHead
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss

STDS = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))
LOSSES = ("smooth_l1", "giou")


class BoxHeads(nn.Module):
    """One head a stage, none of whose weights are shared.

    Args:
        num_classes: classes K; the last of K + 1 logits is the background.
        input_shape: of a region's features.
        fc_dims: widths of the fully connected layers: two of 1024 in HTC; one of 1024 behind four convolutions in
            "4conv1fc", which the public recipes of Swin and CBNet use.
        conv_dims: widths of 3×3 convolutions before them.
        conv_norm: of these convolutions, ``""`` or ``"BN"`` (`train.sync_bn` makes it one over all processes).
        stds: standard deviations of (dx, dy, dw, dh) by stage, by which these are divided; as many as there are stages.
        box_loss: ``smooth_l1`` (β = 1, on these four) or ``giou`` (on the refined boxes).
        box_weight: of the box loss; published: 1 for smooth L1, 10 for GIoU.

    Raises:
        ValueError: there is no box loss of that name.
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: ShapeSpec,
        fc_dims: Sequence[int] = (1024, 1024),
        conv_dims: Sequence[int] = (),
        conv_norm: str = "",
        stds: Sequence[Sequence[float]] = STDS,
        box_loss: str = "smooth_l1",
        box_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if box_loss not in LOSSES:
            raise ValueError(f"box_loss is {box_loss!r}; expected one of {LOSSES}")
        self.num_classes, self.box_loss, self.box_weight = num_classes, box_loss, box_weight
        self.heads = nn.ModuleList(
            FastRCNNConvFCHead(input_shape, conv_dims=list(conv_dims), fc_dims=list(fc_dims), conv_norm=conv_norm)
            for _ in stds
        )
        self.cls_score = nn.ModuleList(nn.Linear(fc_dims[-1], num_classes + 1) for _ in stds)
        self.bbox_pred = nn.ModuleList(nn.Linear(fc_dims[-1], 4) for _ in stds)
        for layers, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            for layer in layers:
                nn.init.normal_(layer.weight, std=std)
                nn.init.zeros_(layer.bias)
        self.transforms = [Box2BoxTransform(weights=tuple(1 / value for value in each)) for each in stds]

    def __len__(self) -> int:
        return len(self.heads)

    def forward(
        self, features: Float[Tensor, "R C H W"], stage: int
    ) -> tuple[Float[Tensor, "R L"], Float[Tensor, "R 4"]]:
        """Logits (the background last) and deltas of regions, by the head of a stage that counts from 0."""
        hidden = self.heads[stage](features)
        return self.cls_score[stage](hidden).float(), self.bbox_pred[stage](hidden).float()

    def decode(
        self, deltas: Float[Tensor, "R 4"], boxes_xyxy_abs: Float[Tensor, "R 4"], stage: int
    ) -> Float[Tensor, "R 4"]:
        """Refined boxes, not clipped."""
        return self.transforms[stage].apply_deltas(deltas, boxes_xyxy_abs)

    def classification_loss(self, logits: Float[Tensor, "R L"], classes: Int64[Tensor, " R"]) -> Float[Tensor, ""]:
        """Cross-entropy, averaged over the regions."""
        return F.cross_entropy(logits, classes, reduction="sum") / max(len(classes), 1)

    def regression_loss(
        self,
        deltas: Float[Tensor, "R 4"],
        boxes_xyxy_abs: Float[Tensor, "R 4"],
        targets_xyxy_abs: Float[Tensor, "R 4"],
        classes: Int64[Tensor, " R"],
        stage: int,
    ) -> Float[Tensor, ""]:
        """Box loss of the regions that show an object, divided by the number of all regions."""
        shown = classes < self.num_classes
        deltas, boxes, targets = deltas[shown], boxes_xyxy_abs[shown], targets_xyxy_abs[shown]
        if self.box_loss == "giou":
            total = generalized_box_iou_loss(self.decode(deltas, boxes, stage), targets, reduction="sum")
        else:
            total = F.smooth_l1_loss(deltas, self.transforms[stage].get_deltas(boxes, targets), reduction="sum")
        return self.box_weight * total / max(len(classes), 1)


def mean_logits(logits: Sequence[Float[Tensor, "R L"]]) -> Float[Tensor, "R L"]:
    """What the stages together say of the same regions: logits are averaged, and the softmax comes after."""
    return torch.stack(list(logits)).mean(0)
