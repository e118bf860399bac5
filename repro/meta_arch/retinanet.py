"""RetinaNet (Lin et al. 2017): Detectron2's, with what the detector contract adds.

Parts and parameter names are Detectron2's. Its normaliser, a running mean of the number of positive anchors, is a
buffer here, so that a training that was interrupted goes on with it, and the mean over all processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import FPN
from detectron2.modeling.backbone.fpn import LastLevelP6P7
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch import retinanet
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from detectron2.structures import Instances
from torch import Tensor

from repro.modeling.backbone import resnet
from repro.modeling.contract import by_size, event_storage


@META_ARCH_REGISTRY.register()
class DenseRetinaNet(retinanet.RetinaNet):
    """Detectron2's :class:`RetinaNet`, which takes the same arguments.

    In inference, images of equal size are batched together and others are not; training needs no event storage.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        start = float(self.loss_normalizer)
        del self.loss_normalizer
        self.register_buffer("loss_normalizer", torch.tensor(start))

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training; in inference detections, best first."""
        if not self.training:
            with torch.no_grad():
                return by_size(super().forward, inputs)
        with event_storage():
            losses = super().forward(inputs)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self.loss_normalizer)
            self.loss_normalizer = self.loss_normalizer / dist.get_world_size()
        return losses


def example(num_classes: int = 3) -> DenseRetinaNet:
    """The real thing, small: built in a second on a CPU."""
    dim, levels, octave = 16, ["p3", "p4", "p5", "p6", "p7"], [1.0, 2 ** (1 / 3), 2 ** (2 / 3)]
    return DenseRetinaNet(
        backbone=FPN(
            bottom_up=resnet(depth=10, width=8, freeze_at=0, out_features=["res3", "res4", "res5"]),
            in_features=["res3", "res4", "res5"],
            out_channels=dim,
            top_block=LastLevelP6P7(64, dim),
        ),
        head=RetinaNetHead(
            input_shape=[ShapeSpec(channels=dim)], num_classes=num_classes, num_anchors=9, conv_dims=[dim, dim]
        ),
        head_in_features=levels,
        anchor_generator=DefaultAnchorGenerator(
            sizes=[[size * part for part in octave] for size in (16, 32, 64, 128, 256)],
            aspect_ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
            offset=0.0,
        ),
        box2box_transform=Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0)),
        anchor_matcher=Matcher(thresholds=[0.4, 0.5], labels=[0, -1, 1], allow_low_quality_matches=True),
        num_classes=num_classes,
        test_score_thresh=0.001,  # an untrained class has a probability of 0.01
        pixel_mean=[103.53, 116.28, 123.675],
        pixel_std=[57.375, 57.12, 58.395],
    )
