"""Soft Teacher for Detectron2's RetinaNet. Ours: the paper says that one-stage detectors fit, and shows none.

What carries over: pseudo boxes from the teacher, and a weight for each background anchor by how sure the teacher is
that nothing is there, 1 - max of its class scores at the anchor of its own view that looks at the same thing. What does
not: there is no head to refine a jittered box, so regression learns from the same boxes as classification; and all
anchors are trained, not a sample, so the loss is a sum over the number of positive anchors, as in RetinaNet, and not a
mean. The default threshold is lower, since scores that are trained with the focal loss stay lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from detectron2.modeling.box_regression import _dense_box_regression_loss
from detectron2.modeling.meta_arch.retinanet import RetinaNet, permute_to_N_HWA_K
from detectron2.structures import Boxes
from fvcore.nn import sigmoid_focal_loss
from jaxtyping import Float
from torch import Tensor

from repro.modeling import soft_weights
from repro.modeling.anchors import AnchorGrid, counterparts
from repro.modeling.boxes import largest_iou
from repro.modeling.pseudo_boxes import PseudoBoxes
from repro.modeling.soft_weights import Evidence

from .box_losses import scored
from .samples import found, log_counts, matrices, targets, views


class Dense(NamedTuple):
    """What a RetinaNet predicts at the R anchors of all levels of each of B images."""

    anchors: list[Boxes]
    grid: AnchorGrid
    logits: list[Tensor]
    """Of each level, B × its anchors × K."""
    deltas: list[Tensor]
    """Of each level, B × its anchors × 4."""
    sizes: Sequence[tuple[int, int]]

    @property
    def background(self) -> Tensor:
        """B × R: 1 less the largest probability of a class."""
        return 1 - torch.cat(self.logits, dim=1).detach().float().amax(-1).sigmoid()


class OneStage:
    """Losses of unlabelled images for a :class:`RetinaNet`.

    Args:
        score_threshold: score above which a detection becomes a pseudo box.
        indicator: reliability of background anchors, a name in `repro.modeling.soft_weights.INDICATORS`.
    """

    def __init__(self, score_threshold: float = 0.5, indicator: str = "BG-T") -> None:
        self.score_threshold, self.reliability = score_threshold, soft_weights.indicator(indicator)

    def __call__(self, student: RetinaNet, teacher: RetinaNet, samples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_box_reg`` of the student, unweighted."""
        weak, strong = views(samples)
        with torch.no_grad():
            seen = predict(teacher, weak)
        own = predict(student, strong)
        boxes = self.pseudo_boxes(teacher, seen, matrices(weak, strong), own.sizes)
        labels, wanted = student.label_anchors(own.anchors, targets(boxes, own.sizes))
        labels = torch.stack(labels)
        positive = (labels >= 0) & (labels != student.num_classes)
        weights = self.weights(own, seen, matrices(strong, weak), boxes)
        weights = torch.where(positive, 1.0, weights) * (labels >= 0)
        count = positive.sum().clamp(min=1)
        distance = _dense_box_regression_loss(
            own.anchors,
            student.box2box_transform,
            own.deltas,
            wanted,
            positive,
            box_reg_loss_type=student.box_reg_loss_type,
            smooth_l1_beta=student.smooth_l1_beta,
        )
        return {
            "loss_cls": (weights * focal_losses(student, own, labels)).sum() / count,
            "loss_box_reg": distance / count,
        }

    @torch.no_grad()
    def pseudo_boxes(
        self, teacher: RetinaNet, seen: Dense, ways: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[PseudoBoxes]:
        """The teacher's detections above the threshold, in the student's views of these sizes."""
        logits = [level.clone() for level in seen.logits]  # which Detectron2 overwrites by probabilities
        answers = teacher.inference(seen.anchors, logits, seen.deltas, seen.sizes)
        boxes = [found(entry).projected(way, size) for entry, way, size in zip(answers, ways, sizes, strict=True)]
        boxes = scored(boxes, self.score_threshold)
        log_counts(boxes=boxes)
        return boxes

    @torch.no_grad()
    def weights(
        self, own: Dense, seen: Dense, ways: Sequence[Tensor], boxes: Sequence[PseudoBoxes]
    ) -> Float[Tensor, "B R"]:
        """Reliability of the student's anchors as background, given the ways from its views to the teacher's."""
        same = torch.stack([counterparts(own.grid, seen.grid, way) for way in ways])
        anchors = Boxes.cat(own.anchors).tensor
        overlap = torch.stack([largest_iou(anchors, entry.boxes_xyxy_abs) for entry in boxes])
        return self.reliability(Evidence(seen.background.gather(1, same), own.background, overlap))


def predict(model: RetinaNet, images: Sequence[dict[str, Any]]) -> Dense:
    """A RetinaNet's predictions before any is selected, as its own ``forward`` makes them."""
    batch = model.preprocess_image(images)
    pyramid = model.backbone(batch.tensor)
    features = [pyramid[name] for name in model.head_in_features]
    logits, deltas = model.head(features)
    generator = model.anchor_generator
    kinds = torch.stack([cell[:, 2:] - cell[:, :2] for cell in generator.cell_anchors])
    return Dense(
        anchors=generator(features),
        grid=AnchorGrid(generator.strides, [tuple(level.shape[2:]) for level in features], kinds, generator.offset),
        logits=[permute_to_N_HWA_K(level, model.num_classes) for level in logits],
        deltas=[permute_to_N_HWA_K(level, 4) for level in deltas],
        sizes=batch.image_sizes,
    )


def focal_losses(model: RetinaNet, own: Dense, labels: Tensor) -> Tensor:
    """Focal loss of each anchor, B × R, over its classes; of those that are to be ignored, any number."""
    logits = torch.cat(own.logits, dim=1).float()
    wanted = F.one_hot(labels.clamp(min=0), model.num_classes + 1)[..., :-1].to(logits)
    losses = sigmoid_focal_loss(logits, wanted, alpha=model.focal_loss_alpha, gamma=model.focal_loss_gamma)
    return losses.sum(-1)
