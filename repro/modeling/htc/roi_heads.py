"""The three stages of HTC, with the interface of Detectron2's ROI heads.

Differs from Detectron2's `CascadeROIHeads` in what HTC does: stages have weights, gradients that reach the features are
not divided by their number, logits (not probabilities) are averaged, box and mask heads take turns ("interleaved
execution": a stage's mask head is trained on boxes that its box head has refined, matched and drawn anew, and the next
stage starts from these), and mask heads hand on what they saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.layers import ROIAlign
from detectron2.structures import Boxes, ImageList, Instances
from jaxtyping import Float
from torch import Tensor, nn

from repro.modeling.suppression import HardNMS, SoftNMS, detections

from .box_heads import BoxHeads, mean_logits
from .mask_heads import MaskHeads, mask_loss
from .regions import RegionFeatures
from .sampling import Samples, StageSampler

Features = Mapping[str, Tensor]
WHOLLY = 1 - 1e-4  # of a resampled pixel: all of what it was made of


class HTCROIHeads(nn.Module):
    """Box and mask heads of all stages.

    Args:
        box: box heads.
        mask: mask heads.
        regions: features of regions.
        sampler: of boxes to train on.
        stage_weights: of the losses, by stage.
        suppress: of overlapping detections.
        test_score_thresh: detections have more.
        test_topk_per_image: most detections.
    """

    def __init__(
        self,
        box: BoxHeads,
        mask: MaskHeads,
        regions: RegionFeatures,
        sampler: StageSampler,
        stage_weights: Sequence[float] = (1.0, 0.5, 0.25),
        suppress: HardNMS | SoftNMS | None = None,
        test_score_thresh: float = 0.001,
        test_topk_per_image: int = 100,
    ) -> None:
        super().__init__()
        if not len(box) == len(mask) == len(sampler.matchers) == len(stage_weights):
            raise ValueError(
                f"{len(box)} box heads, {len(mask)} mask heads, {len(sampler.matchers)} overlaps and "
                f"{len(stage_weights)} weights: as many of each are needed"
            )
        self.box, self.mask, self.regions, self.sampler = box, mask, regions, sampler
        self.stage_weights = tuple(stage_weights)
        self.suppress = suppress or HardNMS()
        self.test_score_thresh, self.test_topk_per_image = test_score_thresh, test_topk_per_image
        self.num_classes = box.num_classes

    def forward(
        self,
        images: ImageList,
        features: Features,
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Proposals and weighted losses in training; in inference detections and nothing.

        Args:
            images: only their sizes are read.
            features: levels of the pyramid, and maybe ``semantic``.
            proposals: by image, with ``proposal_boxes``.
            targets: by image, with ``gt_boxes``, ``gt_classes``, and ``gt_masks`` (`BitMasks`) where there are masks;
                ``gt_masks_valid`` (bool [N, H, W]) says which of their pixels count, if not all do.
        """
        boxes = [each.proposal_boxes.tensor for each in proposals]
        if self.training:
            return proposals, self.losses(features, boxes, targets)
        found = self.detect(features, boxes, images.image_sizes)
        return self.add_masks(features, found), {}

    def losses(self, features: Features, boxes: Sequence[Tensor], targets: Sequence[Instances]) -> dict[str, Tensor]:
        """Losses of all stages, the names ending in that of the stage."""
        losses = {}
        for stage, weight in enumerate(self.stage_weights):
            samples = self.sample(boxes, targets, stage)
            logits, deltas = self.run_box(features, [each.boxes_xyxy_abs for each in samples], stage)
            named = self.box_losses(logits, deltas, samples, targets, stage)
            boxes = self.refined(deltas, samples, [each.image_size for each in targets], stage)
            named["loss_mask"] = self.mask_loss(features, self.sample(boxes, targets, stage), targets, stage)
            losses |= {f"{name}_stage{stage}": weight * value for name, value in named.items()}
        return losses

    def sample(self, boxes: Sequence[Tensor], targets: Sequence[Instances], stage: int) -> list[Samples]:
        """Boxes to train a stage on, by image."""
        return [
            self.sampler(each, objects.gt_boxes.tensor, objects.gt_classes, stage)
            for each, objects in zip(boxes, targets, strict=True)
        ]

    def run_box(
        self, features: Features, boxes: Sequence[Tensor], stage: int
    ) -> tuple[Float[Tensor, "R L"], Float[Tensor, "R 4"]]:
        """Logits and deltas of boxes, those of all images in a row."""
        return self.box(self.regions.box(features, boxes), stage)

    def box_losses(
        self,
        logits: Float[Tensor, "R L"],
        deltas: Float[Tensor, "R 4"],
        samples: Sequence[Samples],
        targets: Sequence[Instances],
        stage: int,
    ) -> dict[str, Tensor]:
        """Of the classes and of the boxes, before the stage's weight."""
        boxes, classes = (torch.cat([each[field] for each in samples]) for field in (0, 1))
        truth = torch.cat([matched_boxes(each, objects) for each, objects in zip(samples, targets, strict=True)])
        return {
            "loss_cls": self.box.classification_loss(logits, classes),
            "loss_box_reg": self.box.regression_loss(deltas, boxes, truth, classes, stage),
        }

    @torch.no_grad()
    def refined(
        self, deltas: Float[Tensor, "R 4"], samples: Sequence[Samples], sizes: Sequence[tuple[int, int]], stage: int
    ) -> list[Tensor]:
        """What a stage made of its boxes, by image; objects' own boxes leave here, since each stage adds them anew."""
        boxes = self.decode(deltas, [each.boxes_xyxy_abs for each in samples], sizes, stage)
        kept = [~each.is_truth & Boxes(new).nonempty() for each, new in zip(samples, boxes, strict=True)]
        return [new[chosen] for new, chosen in zip(boxes, kept, strict=True)]

    def decode(
        self, deltas: Float[Tensor, "R 4"], boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]], stage: int
    ) -> list[Tensor]:
        """Refined boxes by image, clipped to it (height, width)."""
        new = [Boxes(each) for each in self.box.decode(deltas, torch.cat(list(boxes)), stage).split(lengths(boxes))]
        for each, size in zip(new, sizes, strict=True):
            each.clip(size)
        return [each.tensor for each in new]

    def mask_loss(
        self, features: Features, samples: Sequence[Samples], targets: Sequence[Instances], stage: int
    ) -> Float[Tensor, ""]:
        """Of the boxes that show an object; images whose objects have no masks are passed over."""
        boxes, classes, wanted, valid = [], [], [], []
        side = 2 * self.regions.mask_pooler.output_size[0]
        for each, objects in zip(samples, targets, strict=True):
            shown = (each.classes < self.num_classes) & objects.has("gt_masks")
            boxes.append(each.boxes_xyxy_abs[shown])
            classes.append(each.classes[shown])
            if objects.has("gt_masks"):
                cut = boxes[-1], each.matched[shown], side
                wanted.append(crop_masks(objects.gt_masks.tensor, *cut))
                known = objects.gt_masks_valid if objects.has("gt_masks_valid") else None
                valid.append(torch.ones_like(wanted[-1]) if known is None else crop_masks(known, *cut))
        logits = self.mask(self.regions.mask(features, boxes), stage)
        if not wanted:
            return logits.sum() * 0
        inside = (torch.cat(wanted) >= 0.5).to(logits.dtype)
        return mask_loss(logits, torch.cat(classes), inside, torch.cat(valid) > WHOLLY)

    def cascade(
        self, features: Features, boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """All stages over given boxes.

        Returns:
            By image: boxes of the last stage, and probabilities [R, K + 1], those of the mean logits.
        """
        logits = []
        for stage in range(len(self.stage_weights)):
            found, deltas = self.run_box(features, boxes, stage)
            logits.append(found)
            boxes = self.decode(deltas, boxes, sizes, stage)
        return list(boxes), list(mean_logits(logits).softmax(-1).split(lengths(boxes)))

    def detect(self, features: Features, boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Instances]:
        """Detections without masks, in pixels of the images as they are here."""
        found = []
        settings = self.suppress, self.test_score_thresh, self.test_topk_per_image
        for each, probabilities, size in zip(*self.cascade(features, boxes, sizes), sizes, strict=True):
            region, scores, label = detections(each, probabilities[:, :-1], *settings)
            found.append(Instances(size, pred_boxes=Boxes(each[region]), scores=scores, pred_classes=label))
        return found

    def add_masks(self, features: Features, found: list[Instances]) -> list[Instances]:
        """The same detections with ``pred_masks``: probabilities [N, 1, P, P] in the frame of each box."""
        pooled = self.regions.mask(features, [each.pred_boxes.tensor for each in found])
        masks = self.mask.probabilities(pooled, torch.cat([each.pred_classes for each in found]))
        for each, own in zip(found, masks.split([len(each) for each in found]), strict=True):
            each.pred_masks = own[:, None]
        return found


def matched_boxes(samples: Samples, objects: Any) -> Float[Tensor, "R 4"]:
    """Box of the object that each sample overlaps most; the sample's own where an image has none."""
    return objects.gt_boxes.tensor[samples.matched] if len(objects) else samples.boxes_xyxy_abs


def crop_masks(
    masks: Tensor, boxes_xyxy_abs: Float[Tensor, "R 4"], number: Tensor, side: int
) -> Float[Tensor, "R P Q"]:
    """Parts of masks [N, H, W] in boxes, resampled to squares; ``number`` says which mask each box is cut from."""
    regions = torch.cat([number[:, None].to(boxes_xyxy_abs), boxes_xyxy_abs], dim=1)
    pooled = ROIAlign((side, side), 1.0, 0, aligned=True)(masks[:, None].to(boxes_xyxy_abs), regions)
    return pooled[:, 0]


def lengths(boxes: Sequence[Tensor]) -> list[int]:
    """How many there are of each image."""
    return [len(each) for each in boxes]
