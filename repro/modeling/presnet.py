"""ResNet-vd (He et al. 2019, "Bag of tricks", ResNet-D) as RT-DETR uses it, with the names of its published weights.

What sets it apart from other ResNets, and keeps their weights from fitting: three 3×3 convolutions for a stem; a
shortcut that shrinks the map averages 2×2 pixels before its 1×1 convolution; and the first block of the first stage has
a 1×1 convolution on its shortcut even where, at depths 18 and 34, its channels do not change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from jaxtyping import Float
from torch import Tensor, nn

from repro.layers.conv_norm import ConvNorm

from .backbone import BASIC, BOTTLENECK

FEATURES = ("res2", "res3", "res4", "res5")


class PResNet(nn.Module):
    """A residual network, variant d; images to a dictionary of maps, of strides 4, 8, 16 and 32.

    Args:
        depth: 10, 18 or 34 (basic blocks); 14, 26, 50, 101 or 152 (bottlenecks, four times the channels).
        width: channels of the stem's end and of the first stage's 3×3 convolutions; published: 64.
        freeze_at: −1 trains everything, 0 freezes the stem, 1 also the first stage, up to 4.
        freeze_norm: constant statistics and factors in every normalisation.
        out_features: which of ``res2`` … ``res5`` to return.

    Raises:
        ValueError: there is no network of that depth, or no stage of such a name.
    """

    def __init__(
        self,
        depth: int,
        width: int = 64,
        freeze_at: int = -1,
        freeze_norm: bool = False,
        out_features: Sequence[str] = ("res3", "res4", "res5"),
    ) -> None:
        super().__init__()
        if depth not in BASIC and depth not in BOTTLENECK:
            raise ValueError(f"depth is {depth}; expected one of {sorted({*BASIC, *BOTTLENECK})}")
        if unknown := [name for name in out_features if name not in FEATURES]:
            raise ValueError(f"out_features has {unknown}; expected some of {list(FEATURES)}")
        self.out_features = tuple(out_features)
        block = BasicBlock if depth in BASIC else BottleneckBlock
        self.conv1 = _stem(width, freeze_norm)
        self.res_layers = nn.ModuleList()
        channels = width
        for stage, count in enumerate({**BASIC, **BOTTLENECK}[depth]):
            self.res_layers.append(Stage(block, count, channels, width * 2**stage, 1 if stage == 0 else 2, freeze_norm))
            channels = block.expansion * width * 2**stage
        self.channels = {name: block.expansion * width * 2**stage for stage, name in enumerate(FEATURES)}
        for part in [self.conv1, *self.res_layers][: freeze_at + 1]:
            part.requires_grad_(False)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        """The maps named in ``out_features``."""
        x = F.max_pool2d(self.conv1(images), 3, stride=2, padding=1)
        features = {}
        for name, stage in zip(FEATURES, self.res_layers, strict=True):
            x = stage(x)
            features[name] = x
        return {name: features[name] for name in self.out_features}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and strides of the maps, as Detectron2's backbones say them."""
        return {
            name: ShapeSpec(channels=self.channels[name], stride=4 * 2 ** FEATURES.index(name))
            for name in self.out_features
        }


def _stem(width: int, frozen: bool) -> nn.Sequential:
    half = width // 2
    return nn.Sequential(
        OrderedDict(
            conv1_1=ConvNorm(3, half, 3, stride=2, activation="relu", frozen=frozen),
            conv1_2=ConvNorm(half, half, 3, activation="relu", frozen=frozen),
            conv1_3=ConvNorm(half, width, 3, activation="relu", frozen=frozen),
        )
    )


class Stage(nn.Module):
    """Blocks of equal size; the first may shrink the map, and has a convolution on its shortcut."""

    def __init__(
        self, block: type[BasicBlock | BottleneckBlock], count: int, inputs: int, width: int, stride: int, frozen: bool
    ) -> None:
        super().__init__()
        outputs = block.expansion * width
        self.blocks = nn.ModuleList(
            block(inputs if index == 0 else outputs, width, stride if index == 0 else 1, index == 0, frozen)
            for index in range(count)
        )

    def forward(self, x: Float[Tensor, "B I _h _w"]) -> Float[Tensor, "B O _p _q"]:
        """The map after all blocks."""
        for block in self.blocks:
            x = block(x)
        return x


class BasicBlock(nn.Module):
    """Two 3×3 convolutions; the first one strides."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, project: bool, frozen: bool) -> None:
        super().__init__()
        self.short = _shortcut(inputs, width, stride, frozen) if project else nn.Identity()
        self.branch2a = ConvNorm(inputs, width, 3, stride, "relu", frozen)
        self.branch2b = ConvNorm(width, width, 3, frozen=frozen)

    def forward(self, x: Float[Tensor, "B I _h _w"]) -> Float[Tensor, "B O _p _q"]:
        """The map after the block."""
        return F.relu(self.branch2b(self.branch2a(x)) + self.short(x))


class BottleneckBlock(nn.Module):
    """1×1, 3×3 and 1×1 convolutions; the middle one strides."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, project: bool, frozen: bool) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.short = _shortcut(inputs, outputs, stride, frozen) if project else nn.Identity()
        self.branch2a = ConvNorm(inputs, width, 1, activation="relu", frozen=frozen)
        self.branch2b = ConvNorm(width, width, 3, stride, "relu", frozen)
        self.branch2c = ConvNorm(width, outputs, 1, frozen=frozen)

    def forward(self, x: Float[Tensor, "B I _h _w"]) -> Float[Tensor, "B O _p _q"]:
        """The map after the block."""
        return F.relu(self.branch2c(self.branch2b(self.branch2a(x))) + self.short(x))


def _shortcut(inputs: int, outputs: int, stride: int, frozen: bool) -> nn.Module:
    conv = ConvNorm(inputs, outputs, 1, frozen=frozen)
    if stride == 1:
        return conv
    pool = nn.AvgPool2d(2, stride=2, ceil_mode=True)
    return nn.Sequential(OrderedDict(pool=pool, conv=conv))
