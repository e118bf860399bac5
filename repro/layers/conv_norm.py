"""Convolution, batch normalisation and activation as one layer, and RepVGG's pair of them that deploys as one.

Parameters are named as in RT-DETR's published code (``conv.weight``, ``norm.weight`` …).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d

ACTIVATIONS: dict[str | None, Callable[[], nn.Module]] = {None: nn.Identity, "relu": nn.ReLU, "silu": nn.SiLU}


class ConvNorm(nn.Module):
    """A convolution without bias that keeps the map's size but for its stride, then batch norm, then an activation.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: odd; the padding is half of it.
        stride: of the convolution.
        activation: ``relu``, ``silu`` or None.
        frozen: normalise by constant statistics and factors instead of trained ones.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        activation: str | None = None,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
        self.norm = FrozenBatchNorm2d(out_channels) if frozen else nn.BatchNorm2d(out_channels)
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: Float[Tensor, "B I _h _w"]) -> Float[Tensor, "B O _p _q"]:
        """The activated map."""
        return self.act(self.norm(self.conv(x)))

    def kernel_and_bias(self) -> tuple[Float[Tensor, "O I k k"], Float[Tensor, " O"]]:
        """The one convolution that does what this one and its norm do in evaluation."""
        norm = self.norm
        kernel, bias = fuse_conv_bn_weights(
            self.conv.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        return kernel.detach(), bias.detach()


class RepVGGBlock(nn.Module):
    """A 3×3 and a 1×1 convolution side by side, summed, SiLU (Ding et al. 2021, without the identity branch).

    For deployment, :meth:`fuse` makes one 3×3 convolution of the two.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, channels, 3)
        self.conv2 = ConvNorm(channels, channels, 1)
        self.act = nn.SiLU()

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The activated map."""
        if hasattr(self, "conv"):
            return self.act(self.conv(x))
        return self.act(self.conv1(x) + self.conv2(x))

    @torch.no_grad()
    def fuse(self) -> None:
        """Replace both branches by one convolution of equal output in evaluation. There is no way back."""
        if hasattr(self, "conv"):
            return
        kernel, bias = self.conv1.kernel_and_bias()
        small_kernel, small_bias = self.conv2.kernel_and_bias()
        conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1).to(kernel)
        conv.weight.copy_(kernel + F.pad(small_kernel, (1, 1, 1, 1)))
        conv.bias.copy_(bias + small_bias)
        self.conv = conv
        del self.conv1, self.conv2
