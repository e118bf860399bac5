"""Features of regions, with those of the semantic branch added to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from jaxtyping import Float
from torch import Tensor, nn

SEMANTIC = "semantic"
"""Name of the semantic branch's embedding among the feature maps."""


class RegionFeatures(nn.Module):
    """RoIAlign for box heads and for mask heads.

    A region's semantic features are pooled at the masks' resolution: added to what mask heads see as they are, averaged
    to the boxes' resolution for box heads.

    Args:
        in_features: levels of the pyramid, finest first.
        strides: of these levels.
        box_resolution: side of a box head's features.
        mask_resolution: side of a mask head's features.
        canonical_box_size: side of the boxes that are read at the level of stride 16.
        semantic_stride: of the embedding.
    """

    def __init__(
        self,
        in_features: Sequence[str] = ("p2", "p3", "p4", "p5"),
        strides: Sequence[int] = (4, 8, 16, 32),
        box_resolution: int = 7,
        mask_resolution: int = 14,
        canonical_box_size: int = 224,
        semantic_stride: int = 8,
    ) -> None:
        super().__init__()
        self.in_features, self.box_resolution = tuple(in_features), box_resolution
        pooling = {"sampling_ratio": 0, "pooler_type": "ROIAlignV2", "canonical_box_size": canonical_box_size}
        scales = [1 / stride for stride in strides]
        self.box_pooler = ROIPooler(box_resolution, scales, **pooling)
        self.mask_pooler = ROIPooler(mask_resolution, scales, **pooling)
        self.semantic_pooler = ROIPooler(mask_resolution, [1 / semantic_stride], **pooling)

    def box(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Float[Tensor, "R C H W"]:
        """What box heads see of boxes (xyxy in pixels, by image)."""
        pooled = self._pool(self.box_pooler, features, boxes)
        if SEMANTIC not in features:
            return pooled
        return pooled + F.adaptive_avg_pool2d(self._semantic(features, boxes), self.box_resolution)

    def mask(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Float[Tensor, "R C H W"]:
        """What mask heads see of boxes."""
        pooled = self._pool(self.mask_pooler, features, boxes)
        return pooled + self._semantic(features, boxes) if SEMANTIC in features else pooled

    def _pool(self, pooler: ROIPooler, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        return pooler([features[name] for name in self.in_features], [Boxes(each) for each in boxes])

    def _semantic(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        return self.semantic_pooler([features[SEMANTIC]], [Boxes(each) for each in boxes])
