"""Swin Transformer (Liu et al., ICCV 2021, arXiv 2103.14030) as a detector's backbone: timm's, for images of any size.

As in Swin's own detection code, and unlike timm's networks as they come:

- maps are padded to whole windows *before* they are shifted. timm shifts first, so that on maps that windows do not
  divide the rows that went around the edge are not those that its mask keeps apart;
- windows are as large as stated in every stage, and shifted in every second block, however small the image was that
  the weights were trained on;
- each map that is returned has a layer norm of its own, which no published weights contain.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from jaxtyping import Float
from torch import Tensor, nn

from .timm_backbone import TimmBackbone

FAMILY = "swin_large_patch4_window7_224"  # all sizes differ in numbers only, which are given


class Swin(Backbone):
    """Images [B, 3, H, W] (sides divisible by 32) to maps of strides 4 to 32.

    Args:
        embed_dim: channels of the first stage, doubled in each further one; Swin-L: 192.
        depths: blocks in each stage.
        num_heads: of attention in each stage.
        window_size: side of a window, in tokens.
        drop_path_rate: of stochastic depth in the last block, growing linearly from 0 in the first.
        out_features: which of ``res2`` … ``res5`` to return.
        out_norms: whether these are normalised.
        global_attention: put one layer of self-attention between all tokens behind the last stage, as HTC++ has it by
            its authors' word; how it is built they do not say, so this is ours: y = x + attention(norm(x)) with as many
            heads as the last stage, without position embeddings.
        grad_checkpointing: compute blocks again in the backward pass instead of keeping what is inside them.
    """

    def __init__(
        self,
        embed_dim: int = 192,
        depths: Sequence[int] = (2, 2, 18, 2),
        num_heads: Sequence[int] = (6, 12, 24, 48),
        window_size: int = 7,
        drop_path_rate: float = 0.2,
        out_features: Sequence[str] = ("res2", "res3", "res4", "res5"),
        out_norms: bool = True,
        global_attention: bool = False,
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        options = {
            "embed_dim": embed_dim,
            "depths": tuple(depths),
            "num_heads": tuple(num_heads),
            "window_size": window_size,
            "drop_path_rate": drop_path_rate,
            "strict_img_size": False,
            "always_partition": True,
        }
        self.body = TimmBackbone(FAMILY, out_features, options=options)
        stage_class, block_class, padded_class = _timms()
        for module in self.body.modules():
            if isinstance(module, block_class):
                module.__class__ = padded_class
            elif isinstance(module, stage_class):
                module.grad_checkpointing = grad_checkpointing
        self.global_attention = GlobalAttention(8 * embed_dim, num_heads[-1]) if global_attention else None
        shapes = self.output_shape() if out_norms else {}
        self.norms = nn.ModuleDict({name: nn.LayerNorm(shape.channels) for name, shape in shapes.items()})

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        """The maps named in ``out_features``."""
        maps = self.body(images)
        if self.global_attention is not None:
            maps["res5"] = self.global_attention(maps["res5"])
        return {name: self._normalised(name, value) for name, value in maps.items()}

    def _normalised(self, name: str, value: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        if name not in self.norms:
            return value
        return self.norms[name](value.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and strides of the maps."""
        return self.body.output_shape()


class GlobalAttention(nn.Module):
    """One layer of self-attention between all places of a map, added to it.

    Args:
        channels: of the map.
        num_heads: of attention.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, num_heads, batch_first=True)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The map."""
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        found, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return x + found.transpose(1, 2).reshape(x.shape)


@functools.cache
def _timms() -> tuple[type, type, type]:
    """timm's stage and block, and a block that pads before it shifts; timm is optional, so not before one is built."""
    from timm.models.swin_transformer import SwinTransformerBlock, SwinTransformerStage

    class PaddedBlock(SwinTransformerBlock):
        def _attn(self, x: Tensor) -> Tensor:
            height, width = x.shape[1:3]
            below, right = (-side % window for side, window in zip((height, width), self.window_size, strict=True))
            return super()._attn(F.pad(x, (0, 0, 0, right, 0, below)))[:, :height, :width]

    return SwinTransformerStage, SwinTransformerBlock, PaddedBlock
