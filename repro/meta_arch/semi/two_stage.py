"""Soft Teacher for Detectron2's two-stage detectors (Xu et al. 2021, Section 3; released code as of August 2022).

Where paper and released code differ, the parts that a recipe names decide (`repro.modeling.box_jitter`,
`repro.modeling.soft_weights`). As in the released code: the teacher proposes with the settings of training; three sets
of pseudo boxes serve the student's RPN, its classification and its regression; these two sample their boxes
independently. Differs from it: views are paired by their place in the batch and not by file name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from detectron2.modeling.meta_arch import GeneralizedRCNN
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from repro.modeling import soft_weights
from repro.modeling.pseudo_boxes import ByScore, ByVariance, PseudoBoxes
from repro.modeling.soft_weights import PerImageLosses, PooledLosses
from repro.modeling.views import project_boxes

from . import box_losses
from .box_losses import scored
from .samples import found, log_counts, matrices, targets, views

Sizes = Sequence[tuple[int, int]]


class Seen(NamedTuple):
    """What a teacher makes of the weak views."""

    features: dict[str, Tensor]
    sizes: Sizes
    """(height, width) of each view."""
    boxes: list[PseudoBoxes]


class BoxHead:
    """Asks the one box head of Detectron2's ``StandardROIHeads`` about given boxes."""

    def predict(
        self, roi_heads: nn.Module, features: dict[str, Tensor], boxes: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Class logits (R, K + 1) and box deltas (R, 4·K, or 4) of boxes of all images (xyxy, one entry an image)."""
        maps = [features[name] for name in roi_heads.box_in_features]
        pooled = roi_heads.box_pooler(maps, [Boxes(entry) for entry in boxes])
        return roi_heads.box_predictor(roi_heads.box_head(pooled))

    def background(self, roi_heads: nn.Module, features: dict[str, Tensor], boxes: Sequence[Tensor]) -> list[Tensor]:
        """Probability of background of each box."""
        logits, _ = self.predict(roi_heads, features, boxes)
        return list(logits.float().softmax(-1)[:, -1].split([len(entry) for entry in boxes]))

    def refine(
        self,
        roi_heads: nn.Module,
        features: dict[str, Tensor],
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        sizes: Sizes,
    ) -> list[Tensor]:
        """What the head makes of each box as one of its class, clipped to the image."""
        _, deltas = self.predict(roi_heads, features, boxes)
        refined = roi_heads.box_predictor.box2box_transform.apply_deltas(deltas, torch.cat(list(boxes)))
        if refined.shape[1] > 4:  # a box for each class
            every = torch.arange(len(refined), device=refined.device)
            refined = refined.unflatten(1, (-1, 4))[every, torch.cat(list(labels))]
        parts = [Boxes(part) for part in refined.split([len(entry) for entry in boxes])]
        for part, size in zip(parts, sizes, strict=True):
            part.clip(size)
        return [part.tensor for part in parts]


class TwoStage:
    """Losses of unlabelled images for a :class:`GeneralizedRCNN`.

    Args:
        score_threshold: foreground score above which a detection becomes a pseudo box.
        rpn_threshold: score above which a pseudo box teaches the RPN.
        cls_threshold: score above which it teaches classification.
        regression: which ones teach regression; default :class:`ByVariance`.
        indicator: reliability of background boxes, a name in `repro.modeling.soft_weights.INDICATORS`.
        losses: what becomes of the terms; default :class:`PooledLosses`.
        head: asks a detector's head about boxes; default :class:`BoxHead`.
    """

    def __init__(
        self,
        score_threshold: float = 0.5,
        rpn_threshold: float = 0.9,
        cls_threshold: float = 0.9,
        regression: ByVariance | ByScore | None = None,
        indicator: str = "BG-T",
        losses: PooledLosses | PerImageLosses | None = None,
        head: BoxHead | None = None,
    ) -> None:
        self.score_threshold, self.rpn_threshold, self.cls_threshold = score_threshold, rpn_threshold, cls_threshold
        self.regression, self.losses, self.head = (
            regression or ByVariance(),
            losses or PooledLosses(),
            head or BoxHead(),
        )
        self.reliability = soft_weights.indicator(indicator)

    def __call__(
        self, student: GeneralizedRCNN, teacher: GeneralizedRCNN, samples: Sequence[dict[str, Any]]
    ) -> dict[str, Tensor]:
        """``loss_rpn_cls``, ``loss_rpn_loc``, ``loss_cls`` and ``loss_box_reg`` of the student, unweighted."""
        weak, strong = views(samples)
        seen = self.look(teacher, weak)
        images = student.preprocess_image(strong)
        sizes, ways = images.image_sizes, matrices(weak, strong)
        boxes = [entry.projected(way, size) for entry, way, size in zip(seen.boxes, ways, sizes, strict=True)]
        for_rpn, for_cls = (scored(boxes, threshold) for threshold in (self.rpn_threshold, self.cls_threshold))
        for_reg = [entry.kept(self.regression.reliable(entry)) for entry in boxes]
        log_counts(boxes=boxes, rpn=for_rpn, cls=for_cls, reg=for_reg)
        features = student.backbone(images.tensor)
        proposals, losses = student.proposal_generator(images, features, targets(for_rpn, sizes))
        sample = student.roi_heads.label_and_sample_proposals
        chosen = sample(proposals, targets(for_cls, sizes))
        background = self._teacher_background(teacher, seen, chosen, matrices(strong, weak))
        losses["loss_cls"] = self.classification(student, features, chosen, background, for_cls)
        losses["loss_box_reg"] = self.regress(student, features, sample(proposals, targets(for_reg, sizes)))
        return losses

    @torch.no_grad()
    def look(self, teacher: GeneralizedRCNN, weak: Sequence[dict[str, Any]]) -> Seen:
        """The teacher's pass: pseudo boxes in its own views, above the score threshold, and measured."""
        images = teacher.preprocess_image(weak)
        features = teacher.backbone(images.tensor)
        with proposing_as_in_training(teacher.proposal_generator):
            proposals, _ = teacher.proposal_generator(images, features, None)
        detections, _ = teacher.roi_heads(images, features, proposals, None)
        boxes = scored([found(entry) for entry in detections], self.score_threshold)

        def refine(moved: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Tensor]:
            return self.head.refine(teacher.roi_heads, features, moved, labels, images.image_sizes)

        return Seen(features, images.image_sizes, self.regression.measured(boxes, refine))

    @torch.no_grad()
    def _teacher_background(
        self, teacher: GeneralizedRCNN, seen: Seen, chosen: Sequence[Instances], ways: Sequence[Tensor]
    ) -> list[Tensor]:
        """The teacher's probability of background for the student's boxes, on the features that it has already."""
        boxes = [
            project_boxes(entry.proposal_boxes.tensor, way, size)
            for entry, way, size in zip(chosen, ways, seen.sizes, strict=True)
        ]
        return self.head.background(teacher.roi_heads, seen.features, boxes)

    def classification(
        self,
        student: GeneralizedRCNN,
        features: dict[str, Tensor],
        chosen: Sequence[Instances],
        teacher_background: Sequence[Tensor],
        pseudo: Sequence[PseudoBoxes],
    ) -> Tensor:
        """Cross-entropy of the sampled boxes, of which those of background weigh as much as they are reliable."""
        heads, boxes = student.roi_heads, [entry.proposal_boxes.tensor for entry in chosen]
        logits, _ = self.head.predict(heads, features, boxes)
        classes = [entry.gt_classes for entry in chosen]
        objects = [entry.boxes_xyxy_abs for entry in pseudo]
        loss = box_losses.classification(
            self.losses, self.reliability, logits, boxes, classes, teacher_background, objects
        )
        return heads.box_predictor.loss_weight.get("loss_cls", 1.0) * loss

    def regress(self, student: GeneralizedRCNN, features: dict[str, Tensor], chosen: Sequence[Instances]) -> Tensor:
        """L1 distance of the sampled foreground boxes, for the pseudo box's class."""
        heads, counts = student.roi_heads, [len(entry) for entry in chosen]
        predictor = heads.box_predictor
        _, deltas = self.head.predict(heads, features, [entry.proposal_boxes.tensor for entry in chosen])
        means = []
        for entry, part in zip(chosen, deltas.split(counts), strict=True):
            wanted = entry.gt_boxes if entry.has("gt_boxes") else entry.proposal_boxes  # then nothing is foreground
            means.append(predictor.box_reg_loss(entry.proposal_boxes.tensor, wanted.tensor, part, entry.gt_classes))
        loss = box_losses.regression(self.losses, means, [entry.gt_classes for entry in chosen], heads.num_classes)
        return predictor.loss_weight.get("loss_box_reg", 1.0) * loss


@contextmanager
def proposing_as_in_training(rpn: nn.Module) -> Iterator[None]:
    """Let an RPN in evaluation mode keep as many proposals as it does in training."""
    own = rpn.pre_nms_topk, rpn.post_nms_topk
    rpn.pre_nms_topk, rpn.post_nms_topk = ({True: kept[True], False: kept[True]} for kept in own)
    try:
        yield
    finally:
        rpn.pre_nms_topk, rpn.post_nms_topk = own
