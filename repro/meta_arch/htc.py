"""Hybrid Task Cascade (Chen et al., CVPR 2019, arXiv 1901.07518) as a Detectron2 meta-architecture.

Backbone with a pyramid and region proposals are Detectron2's, the heads `repro.modeling.htc`. The semantic branch may
be left out, and is left to itself by images that come without a semantic map; masks likewise. HTC++, with which Swin's
numbers were made, adds soft-NMS, testing at several scales and a longer multi-scale training to it, which are other
settings and `repro.engine.multi_scale`; its InstaBoost is not there (`configs/soft_teacher/htc_swin_l.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.meta_arch.rcnn import GeneralizedRCNN
from detectron2.structures import ImageList, Instances
from jaxtyping import Int64
from torch import Tensor, nn

from repro.modeling.contract import by_size, event_storage
from repro.modeling.htc import BoxHeads, HTCROIHeads, MaskHeads, RegionFeatures, SemanticHead, StageSampler
from repro.modeling.htc.regions import SEMANTIC
from repro.modeling.htc.semantic import IGNORED

from .faster_rcnn import example_pyramid, example_rpn


@META_ARCH_REGISTRY.register()
class HTC(GeneralizedRCNN):
    """A pyramid, region proposals, a semantic branch, and three stages of box and mask heads.

    Args:
        backbone: images to a pyramid of feature maps.
        proposal_generator: Detectron2's region proposal network.
        roi_heads: the stages.
        semantic_head: None leaves the branch out.
        pixel_mean: of pixels in 0…255.
        pixel_std: likewise.
        input_format: order of the channels.
    """

    def __init__(
        self,
        backbone: nn.Module,
        proposal_generator: nn.Module,
        roi_heads: HTCROIHeads,
        semantic_head: SemanticHead | None,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str = "RGB",
    ) -> None:
        super().__init__(
            backbone=backbone,
            proposal_generator=proposal_generator,
            roi_heads=roi_heads,
            pixel_mean=pixel_mean,
            pixel_std=pixel_std,
            input_format=input_format,
        )
        self.semantic_head = semantic_head

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training; in inference detections, best first, with ``pred_masks`` (bool, of the original size).

        Args:
            inputs: those of the detector contract; in training ``instances`` may have ``gt_masks`` (`BitMasks`), and
                an image may have ``sem_seg``, a map [H, W] of classes in which 255 says nothing.
        """
        if not self.training:
            with torch.no_grad():
                return by_size(self.inference, inputs)
        with event_storage():
            return self.losses(inputs)

    def losses(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Weighted losses of a batch."""
        images = self.preprocess_image(inputs)
        targets = [x["instances"].to(self.device) for x in inputs]
        features, logits = self.encode(images.tensor)
        proposals, losses = self.proposal_generator(images, features, targets)
        losses |= self.roi_heads(images, features, proposals, targets)[1]
        if logits is not None:
            losses["loss_sem_seg"] = self.semantic_head.loss(logits, self.semantic_maps(inputs, images))
        return losses

    def encode(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Feature maps of a normalised batch, the semantic embedding among them, and the branch's logits."""
        features = self.backbone(images)
        if self.semantic_head is None:
            return features, None
        logits, embedding = self.semantic_head(features)
        return {**features, SEMANTIC: embedding}, logits

    def semantic_maps(self, inputs: Sequence[dict[str, Any]], images: ImageList) -> Int64[Tensor, "B H W"]:
        """Semantic maps of a padded batch; images without one say nothing."""
        height, width = images.tensor.shape[-2:]
        maps = torch.full((len(inputs), height, width), IGNORED, dtype=torch.int64, device=self.device)
        for own, x in zip(maps, inputs, strict=True):
            if "sem_seg" in x:
                given = x["sem_seg"].to(own)
                own[: given.shape[0], : given.shape[1]] = given
        return maps

    def inference(
        self,
        batched_inputs: Sequence[dict[str, Any]],
        detected_instances: Sequence[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list[Any]:
        """Detections of images of one size, or masks for given boxes, as Detectron2's `GeneralizedRCNN.inference`."""
        images = self.preprocess_image(batched_inputs)
        features, _ = self.encode(images.tensor)
        if detected_instances is None:
            found = self._detect(images, features)
        else:
            found = [each.to(self.device) for each in detected_instances]
        found = self.roi_heads.add_masks(features, found)
        return self._postprocess(found, batched_inputs, images.image_sizes) if do_postprocess else found

    @torch.no_grad()
    def boxes(self, inputs: Sequence[dict[str, Any]]) -> list[dict[str, Instances]]:
        """What inference answers, without masks."""

        def answer(same_size: list[dict[str, Any]]) -> list[dict[str, Instances]]:
            images = self.preprocess_image(same_size)
            found = self._detect(images, self.encode(images.tensor)[0])
            return self._postprocess(found, same_size, images.image_sizes)

        return by_size(answer, inputs)

    def _detect(self, images: ImageList, features: dict[str, Tensor]) -> list[Instances]:
        proposals, _ = self.proposal_generator(images, features, None)
        boxes = [each.proposal_boxes.tensor for each in proposals]
        return self.roi_heads.detect(features, boxes, images.image_sizes)


def example(num_classes: int = 3) -> HTC:
    """The real thing, small: built in a second on a CPU."""
    dim, levels = 16, ["p2", "p3", "p4", "p5"]
    return HTC(
        backbone=example_pyramid(dim),
        proposal_generator=example_rpn(dim),
        roi_heads=HTCROIHeads(
            box=BoxHeads(num_classes, ShapeSpec(channels=dim, height=5, width=5), fc_dims=[32, 32]),
            mask=MaskHeads(3, num_classes, channels=dim, num_convs=2),
            regions=RegionFeatures(levels, box_resolution=5, mask_resolution=8, canonical_box_size=56),
            sampler=StageSampler(num_classes, batch_size_per_image=32),
        ),
        semantic_head=SemanticHead(num_classes=num_classes + 1, channels=dim, num_convs=1),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
