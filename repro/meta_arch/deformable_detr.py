"""Deformable DETR (Zhu et al., ICLR 2021, arXiv 2010.04159) as a Detectron2 meta-architecture.

A DETR with a deformable transformer over several maps, and classes that are independent of each other. Where it differs
from the published code is said in ``detr.py``.

As published, boxes are not clipped to the image, and the best ``test_topk`` pairs of query and class are kept, so a
query may appear under several classes.
"""

from __future__ import annotations

import math

from detectron2.modeling import META_ARCH_REGISTRY
from jaxtyping import Float, Int64
from torch import Tensor, nn

from repro.modeling.backbone import resnet
from repro.modeling.criterion import SetCriterion
from repro.modeling.matching import HungarianMatcher
from repro.modeling.necks import ChannelMapper
from repro.modeling.transformer import DeformableDecoder, DeformableEncoder, DeformableTransformer, LearnedQueries

from .detr import DETR


@META_ARCH_REGISTRY.register()
class DeformableDETR(DETR):
    """A :class:`DETR` whose transformer is a :class:`DeformableTransformer`; takes the same arguments."""

    @property
    def num_logits(self) -> int:
        """Outputs of a class head: one sigmoid a class, none for "no object"."""
        return self.num_classes

    def initialise_heads(self) -> None:
        """Every class starts at probability 0.01; boxes start at their references, about a tenth of the image wide."""
        for head in self.class_embed:
            nn.init.constant_(head.bias, -math.log(99))
        for index, head in enumerate(self.bbox_embed):
            last = head.layers[-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            # With refinement, later heads start from the box of the layer before; with two stages, all do from a box.
            if index == 0 and not self.transformer.queries.from_boxes:
                nn.init.constant_(last.bias[2:], -2.0)

    def select(
        self, logits: Float[Tensor, "*batch Q K"]
    ) -> tuple[Float[Tensor, "*batch N"], Int64[Tensor, "*batch N"], Int64[Tensor, "*batch N"]]:
        """Scores, queries and classes of an image's detections: the best pairs of query and class, best first."""
        scores = logits.sigmoid().flatten(-2)
        scores, index = scores.topk(min(self.test_topk, scores.shape[-1]))
        return scores, index // logits.shape[-1], index % logits.shape[-1]


def example(num_classes: int = 3) -> DeformableDETR:
    """The real thing, small: built in a second on a CPU."""
    dim, levels = 32, 3
    return DeformableDETR(
        backbone=resnet(depth=10, width=8, freeze_at=0),
        neck=ChannelMapper(["res3", "res4", "res5"], [16, 32, 64], out_channels=dim, num_levels=levels, num_groups=8),
        transformer=DeformableTransformer(
            encoder=DeformableEncoder(dim, num_layers=1, num_heads=4, num_levels=levels, num_points=2, ffn_dim=64),
            decoder=DeformableDecoder(dim, num_layers=2, num_heads=4, num_levels=levels, num_points=2, ffn_dim=64),
            queries=LearnedQueries(num_queries=20, embed_dim=dim),
        ),
        criterion=SetCriterion(HungarianMatcher()),
        num_classes=num_classes,
    )
