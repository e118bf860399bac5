"""Soft Teacher for HTC (Xu et al. 2021, Tables 1 and 4). Ours: the paper does not say how, and no code was released.

As for one box head (`two_stage`), with these choices where a cascade has several: a background box is as reliable in
every stage as the teacher's ensemble of all its stages says; jittered boxes pass the whole cascade; a stage goes on
from what the one before made of the boxes that it was classified on. Masks are the teacher's inside each sure box, at a
threshold, carried to the strong view; what lies outside the weak view does not count. Unlabelled images skip the
semantic branch's loss, which is all that the authors say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.layers import paste_masks_in_image
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor

from repro.meta_arch.htc import HTC
from repro.modeling import soft_weights
from repro.modeling.htc.roi_heads import matched_boxes
from repro.modeling.htc.sampling import Samples
from repro.modeling.pseudo_boxes import ByScore, ByVariance, PseudoBoxes
from repro.modeling.soft_weights import PerImageLosses, PooledLosses
from repro.modeling.views import project_boxes, warp

from . import box_losses
from .box_losses import scored
from .samples import found, log_counts, matrices, targets, views
from .two_stage import Seen, proposing_as_in_training


class Cascade:
    """Losses of unlabelled images for an :class:`HTC`.

    Args:
        score_threshold: see `two_stage.TwoStage`.
        rpn_threshold: likewise.
        cls_threshold: likewise; such boxes teach masks too.
        regression: likewise.
        indicator: likewise.
        losses: likewise.
        mask_threshold: probability above which a pixel belongs to the object.
    """

    def __init__(
        self,
        score_threshold: float = 0.5,
        rpn_threshold: float = 0.9,
        cls_threshold: float = 0.9,
        regression: ByVariance | ByScore | None = None,
        indicator: str = "BG-T",
        losses: PooledLosses | PerImageLosses | None = None,
        mask_threshold: float = 0.5,
    ) -> None:
        self.score_threshold, self.rpn_threshold, self.cls_threshold = score_threshold, rpn_threshold, cls_threshold
        self.regression, self.losses = regression or ByVariance(), losses or PooledLosses()
        self.reliability, self.mask_threshold = soft_weights.indicator(indicator), mask_threshold

    def __call__(self, student: HTC, teacher: HTC, samples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Those of the RPN, and of classes, boxes and masks in each stage with the stage's weight."""
        weak, strong = views(samples)
        seen = self.look(teacher, weak)
        images = student.preprocess_image(strong)
        sizes, ways = images.image_sizes, matrices(weak, strong)
        boxes = [entry.projected(way, size) for entry, way, size in zip(seen.boxes, ways, sizes, strict=True)]
        for_rpn = scored(boxes, self.rpn_threshold)
        for_reg = [entry.kept(self.regression.reliable(entry)) for entry in boxes]
        for_cls = self.with_masks(teacher, seen, ways, sizes)
        log_counts(boxes=boxes, rpn=for_rpn, cls=scored(boxes, self.cls_threshold), reg=for_reg)
        features, _ = student.encode(images.tensor)
        proposals, losses = student.proposal_generator(images, features, targets(for_rpn, sizes))
        current = [each.proposal_boxes.tensor for each in proposals]
        heads, back = student.roi_heads, matrices(strong, weak)
        for stage, weight in enumerate(heads.stage_weights):
            chosen = heads.sample(current, for_cls, stage)
            logits, deltas = heads.run_box(features, [each.boxes_xyxy_abs for each in chosen], stage)
            named = {
                "loss_cls": box_losses.classification(
                    self.losses,
                    self.reliability,
                    logits,
                    [each.boxes_xyxy_abs for each in chosen],
                    [each.classes for each in chosen],
                    self.background(teacher, seen, chosen, back),
                    [objects.gt_boxes.tensor for objects in for_cls],
                )
            }
            truth = targets(for_reg, sizes)
            named["loss_box_reg"] = self.regress(student, features, heads.sample(current, truth, stage), truth, stage)
            current = heads.refined(deltas, chosen, sizes, stage)
            named["loss_mask"] = heads.mask_loss(features, heads.sample(current, for_cls, stage), for_cls, stage)
            losses |= {f"{name}_stage{stage}": weight * value for name, value in named.items()}
        return losses

    @torch.no_grad()
    def look(self, teacher: HTC, weak: Sequence[dict[str, Any]]) -> Seen:
        """The teacher's pass: pseudo boxes in its own views, above the score threshold, and measured."""
        images = teacher.preprocess_image(weak)
        features, _ = teacher.encode(images.tensor)
        with proposing_as_in_training(teacher.proposal_generator):
            proposals, _ = teacher.proposal_generator(images, features, None)
        heads, sizes = teacher.roi_heads, images.image_sizes
        detections = heads.detect(features, [each.proposal_boxes.tensor for each in proposals], sizes)
        boxes = scored([found(entry) for entry in detections], self.score_threshold)

        def refine(moved: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Tensor]:
            return heads.cascade(features, moved, sizes)[0]

        return Seen(features, sizes, self.regression.measured(boxes, refine))

    @torch.no_grad()
    def with_masks(
        self, teacher: HTC, seen: Seen, ways: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Instances]:
        """Sure boxes in the strong views, with masks and with the pixels of them that count."""
        sure = scored(seen.boxes, self.cls_threshold)
        given = [
            Instances(size, pred_boxes=Boxes(entry.boxes_xyxy_abs), pred_classes=entry.labels)
            for entry, size in zip(sure, seen.sizes, strict=True)
        ]
        given = teacher.roi_heads.add_masks(seen.features, given)
        return [self._carried(*each) for each in zip(sure, given, ways, seen.sizes, sizes, strict=True)]

    def _carried(
        self, boxes: PseudoBoxes, given: Instances, way: Tensor, size: tuple[int, int], new_size: tuple[int, int]
    ) -> Instances:
        """One image's, from the weak view to the strong one."""
        masks = paste_masks_in_image(given.pred_masks[:, 0], given.pred_boxes, size, threshold=self.mask_threshold)
        whole = torch.ones(1, *size, dtype=torch.bool, device=masks.device)
        planes = warp(torch.cat([masks.bool(), whole]), way, new_size)
        moved = boxes.projected(way, new_size)
        kept = (moved.boxes_xyxy_abs[:, 2:] > moved.boxes_xyxy_abs[:, :2]).all(1)
        (objects,) = targets([moved.kept(kept)], [new_size])
        objects.gt_masks = BitMasks(planes[:-1][kept])
        objects.gt_masks_valid = planes[-1:].expand(len(objects), -1, -1)
        return objects

    @torch.no_grad()
    def background(self, teacher: HTC, seen: Seen, chosen: Sequence[Samples], ways: Sequence[Tensor]) -> list[Tensor]:
        """The teacher's probability of background for the student's boxes, by all its stages together."""
        boxes = [
            project_boxes(entry.boxes_xyxy_abs, way, size)
            for entry, way, size in zip(chosen, ways, seen.sizes, strict=True)
        ]
        return [each[:, -1] for each in teacher.roi_heads.cascade(seen.features, boxes, seen.sizes)[1]]

    def regress(
        self,
        student: HTC,
        features: dict[str, Tensor],
        chosen: Sequence[Samples],
        truth: Sequence[Instances],
        stage: int,
    ) -> Tensor:
        """Box loss of a stage, on boxes that were drawn for it."""
        heads = student.roi_heads
        _, deltas = heads.run_box(features, [each.boxes_xyxy_abs for each in chosen], stage)
        counts = [len(each.classes) for each in chosen]
        means = [
            heads.box.regression_loss(part, each.boxes_xyxy_abs, matched_boxes(each, objects), each.classes, stage)
            for each, objects, part in zip(chosen, truth, deltas.split(counts), strict=True)
        ]
        return box_losses.regression(self.losses, means, [each.classes for each in chosen], heads.num_classes)
