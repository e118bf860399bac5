"""Faster R-CNN (Ren et al. 2015) with FPN (Lin et al. 2017): Detectron2's, with what the detector contract adds.

Parts and parameter names are Detectron2's: published checkpoints of its model zoo fit as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import FPN
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch import GeneralizedRCNN
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.proposal_generator.rpn import StandardRPNHead
from detectron2.modeling.roi_heads import FastRCNNConvFCHead, FastRCNNOutputLayers, StandardROIHeads
from detectron2.structures import ImageList, Instances
from torch import Tensor

from repro.modeling.backbone import resnet
from repro.modeling.contract import by_size, event_storage


@META_ARCH_REGISTRY.register()
class FasterRCNN(GeneralizedRCNN):
    """Detectron2's :class:`GeneralizedRCNN`, which takes the same arguments.

    In inference, images of equal size are batched together and others are not; training needs no event storage.
    """

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training; in inference detections, best first."""
        if not self.training:
            with torch.no_grad():
                return by_size(self.inference, inputs)
        with event_storage():
            return super().forward(inputs)


class BlackBorderFasterRCNN(FasterRCNN):
    """The same, trained on images that are padded before they are normalised, as by mmdetection's Soft Teacher.

    In training the border of an image's own padding, up to the next multiple of the backbone's stride, is black
    therefore; what larger images of the batch add is 0 after normalising, as is all padding in inference. A teacher in
    evaluation mode sees its views as in training.
    """

    in_inference = False

    def preprocess_image(self, batched_inputs: Sequence[dict[str, Any]]) -> ImageList:
        """Normalise, pad and batch images."""
        images = super().preprocess_image(batched_inputs)
        if self.in_inference:
            return images
        black, multiple = (-self.pixel_mean / self.pixel_std).view(-1, 1, 1), self.backbone.size_divisibility
        for pixels, (height, width) in zip(images.tensor, images.image_sizes, strict=True):
            bottom, right = (-(-side // multiple) * multiple for side in (height, width))
            pixels[:, height:bottom, :right] = black
            pixels[:, :height, width:right] = black
        return images

    def inference(self, *args: Any, **kwargs: Any) -> list[Any]:
        """See Detectron2's `GeneralizedRCNN.inference`."""
        self.in_inference = True
        try:
            return super().inference(*args, **kwargs)
        finally:
            self.in_inference = False


def example(num_classes: int = 3) -> FasterRCNN:
    """The real thing, small: built in a second on a CPU."""
    dim, levels = 16, ["p2", "p3", "p4", "p5"]
    return FasterRCNN(
        backbone=example_pyramid(dim),
        proposal_generator=example_rpn(dim),
        roi_heads=StandardROIHeads(
            num_classes=num_classes,
            batch_size_per_image=32,
            positive_fraction=0.25,
            proposal_matcher=Matcher(thresholds=[0.5], labels=[0, 1], allow_low_quality_matches=False),
            box_in_features=levels,
            box_pooler=ROIPooler(
                output_size=5,
                scales=[1 / 4, 1 / 8, 1 / 16, 1 / 32],
                sampling_ratio=0,
                pooler_type="ROIAlignV2",
                canonical_box_size=56,
            ),
            box_head=FastRCNNConvFCHead(ShapeSpec(channels=dim, height=5, width=5), conv_dims=[], fc_dims=[32, 32]),
            box_predictor=FastRCNNOutputLayers(
                ShapeSpec(channels=32),
                box2box_transform=Box2BoxTransform(weights=(10.0, 10.0, 5.0, 5.0)),
                num_classes=num_classes,
                test_score_thresh=0.05,
            ),
        ),
        pixel_mean=[103.53, 116.28, 123.675],
        pixel_std=[57.375, 57.12, 58.395],
    )


def example_pyramid(dim: int) -> FPN:
    """A small backbone with maps ``p2`` to ``p6`` of ``dim`` channels."""
    return FPN(
        bottom_up=resnet(depth=10, width=8, freeze_at=0, out_features=["res2", "res3", "res4", "res5"]),
        in_features=["res2", "res3", "res4", "res5"],
        out_channels=dim,
        top_block=LastLevelMaxPool(),
    )


def example_rpn(dim: int) -> RPN:
    """Region proposals on the maps of `example_pyramid`."""
    return RPN(
        in_features=["p2", "p3", "p4", "p5", "p6"],
        head=StandardRPNHead(in_channels=dim, num_anchors=3),
        anchor_generator=DefaultAnchorGenerator(
            sizes=[[8], [16], [32], [64], [128]],
            aspect_ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
            offset=0.0,
        ),
        anchor_matcher=Matcher(thresholds=[0.3, 0.7], labels=[0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0)),
        batch_size_per_image=512,  # so that all levels are trained by one image
        positive_fraction=0.5,
        pre_nms_topk=(100, 50),
        post_nms_topk=(60, 40),
    )
