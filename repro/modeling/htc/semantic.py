"""The semantic branch: what stands at each pixel, stuff included, from all levels of the pyramid.

Its embedding is what box and mask heads see of the surroundings (Sec. 3.3 of the paper). It needs semantic maps in
training; images without one are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from fvcore.nn.weight_init import c2_msra_fill
from jaxtyping import Float, Int64
from torch import Tensor, nn

IGNORED = 255
"""Value of pixels in a semantic map that say nothing."""


class SemanticHead(nn.Module):
    """Levels brought to one size and summed, convolutions, class logits and an embedding.

    Args:
        in_features: levels of the pyramid.
        fused_feature: the level whose size the others are brought to.
        num_classes: of the maps: 183 for COCO-stuff.
        channels: of the pyramid and of everything inside.
        num_convs: 3×3 convolutions after the sum.
        loss_weight: of the loss.
    """

    def __init__(
        self,
        in_features: Sequence[str] = ("p2", "p3", "p4", "p5", "p6"),
        fused_feature: str = "p3",
        num_classes: int = 183,
        channels: int = 256,
        num_convs: int = 4,
        loss_weight: float = 0.2,
    ) -> None:
        super().__init__()
        self.in_features, self.fused_feature, self.loss_weight = tuple(in_features), fused_feature, loss_weight
        self.lateral = nn.ModuleDict({name: nn.Conv2d(channels, channels, 1) for name in in_features})
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(num_convs))
        self.embedding = nn.Conv2d(channels, channels, 1)
        self.predictor = nn.Conv2d(channels, num_classes, 1)
        for layer in (*self.lateral.values(), *self.convs, self.embedding, self.predictor):
            c2_msra_fill(layer)

    def forward(self, features: Mapping[str, Tensor]) -> tuple[Float[Tensor, "B K H W"], Float[Tensor, "B C H W"]]:
        """Logits and embedding, both of the size of the fused level."""
        size = features[self.fused_feature].shape[-2:]
        x = torch.zeros_like(features[self.fused_feature])
        for name in self.in_features:
            level = F.interpolate(features[name], size=size, mode="bilinear", align_corners=True)
            x = x + F.relu(self.lateral[name](level))
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.predictor(x).float(), F.relu(self.embedding(x))

    def loss(self, logits: Float[Tensor, "B K H W"], maps: Int64[Tensor, "B P Q"]) -> Float[Tensor, ""]:
        """Weighted cross-entropy, averaged over the pixels that are not `IGNORED`.

        Args:
            logits: of the batch.
            maps: of the padded batch of images; read at the nearest pixel of the logits' size.
        """
        targets = F.interpolate(maps[:, None].float(), size=logits.shape[-2:], mode="nearest")[:, 0].long()
        total = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
        return self.loss_weight * total / (targets != IGNORED).sum().clamp(min=1)
