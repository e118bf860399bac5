"""Mask heads of a cascade with information flow: each sees, beside its region, what the one before made of it.

Stage i runs the heads 0 … i−1 on its own region features, with gradients, and adds a 1×1 convolution of the last map of
head i−1 before its upsampling to what head i takes in (Sec. 3.2 of the paper, Eq. 6).
"""

from __future__ import annotations

import torch.nn.functional as F
from fvcore.nn.weight_init import c2_msra_fill
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn


class MaskHead(nn.Module):
    """Convolutions, upsampling by two, and a mask a class.

    Args:
        num_classes: classes K.
        channels: of the region features and of everything inside.
        num_convs: 3×3 convolutions.
        takes_previous: whether there is a head before it.
    """

    def __init__(self, num_classes: int, channels: int, num_convs: int, takes_previous: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(num_convs))
        self.deconv = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.predictor = nn.Conv2d(channels, num_classes, 1)
        self.conv_res = nn.Conv2d(channels, channels, 1) if takes_previous else None
        for layer in (*self.convs, self.deconv, *([self.conv_res] if takes_previous else [])):
            c2_msra_fill(layer)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)

    def feature(
        self, x: Float[Tensor, "R C H W"], previous: Float[Tensor, "R C H W"] | None = None
    ) -> Float[Tensor, "R C H W"]:
        """The last map before the upsampling; ``previous`` is that of the head before."""
        if previous is not None:
            x = x + F.relu(self.conv_res(previous))
        for conv in self.convs:
            x = F.relu(conv(x))
        return x

    def logits(self, feature: Float[Tensor, "R C H W"]) -> Float[Tensor, "R K P Q"]:
        """A mask of twice the size for each class."""
        return self.predictor(F.relu(self.deconv(feature))).float()


class MaskHeads(nn.Module):
    """One head a stage.

    Args:
        num_stages: how many.
        num_classes: classes K.
        channels: see `MaskHead`.
        num_convs: see `MaskHead`.
    """

    def __init__(self, num_stages: int, num_classes: int, channels: int = 256, num_convs: int = 4) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            MaskHead(num_classes, channels, num_convs, takes_previous=stage > 0) for stage in range(num_stages)
        )

    def __len__(self) -> int:
        return len(self.heads)

    def forward(self, x: Float[Tensor, "R C H W"], stage: int) -> Float[Tensor, "R K P Q"]:
        """Logits of one stage."""
        feature = None
        for head in self.heads[: stage + 1]:
            feature = head.feature(x, feature)
        return self.heads[stage].logits(feature)

    def probabilities(self, x: Float[Tensor, "R C H W"], classes: Int64[Tensor, " R"]) -> Float[Tensor, "R P Q"]:
        """Masks of the regions' classes, 0…1: the mean of what all stages give."""
        feature, total = None, 0.0
        for head in self.heads:
            feature = head.feature(x, feature)
            total = total + of_class(head.logits(feature), classes).sigmoid()
        return total / len(self.heads)


def of_class(logits: Float[Tensor, "R K P Q"], classes: Int64[Tensor, " R"]) -> Float[Tensor, "R P Q"]:
    """Each region's mask of its class."""
    return logits[range(len(logits)), classes]


def mask_loss(
    logits: Float[Tensor, "R K P Q"],
    classes: Int64[Tensor, " R"],
    targets: Float[Tensor, "R P Q"],
    valid: Bool[Tensor, "R P Q"] | None = None,
) -> Float[Tensor, ""]:
    """Binary cross-entropy of the masks of the regions' classes, averaged over the pixels that are ``valid``."""
    each = F.binary_cross_entropy_with_logits(of_class(logits, classes), targets, reduction="none")
    if valid is None:
        return each.sum() / max(each.numel(), 1)
    return (each * valid).sum() / valid.sum().clamp(min=1)
