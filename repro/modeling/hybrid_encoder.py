"""RT-DETR's hybrid encoder (Zhao et al. 2024, Section 4.2): attention in the coarsest map, convolutions across maps.

AIFI, a transformer layer, sees the coarsest map only. CCFM, the cross-scale fusion, passes from coarse to fine and back
again through CSP blocks of RepVGG convolutions.

Two differences from the published code. Positions follow the tokens row by row on maps of any shape; the published
ones are laid out column by column, the same on square maps only, and ``positions="published"`` repeats them. Maps are
enlarged to the size of the next finer one, which is twice as large where that size is even, so images need not be
multiples of 32 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from repro.layers.conv_norm import ConvNorm, RepVGGBlock

POSITIONS = ("rows", "published")


class HybridEncoder(nn.Module):
    """Backbone maps to as many maps of ``embed_dim`` channels.

    Args:
        in_features: names of the backbone's maps, finest first.
        in_channels: their channels.
        embed_dim: channels of all maps; a multiple of 4.
        num_heads: attention heads.
        ffn_dim: hidden channels of the transformer layer.
        expansion: hidden channels of the CSP blocks, as a share of ``embed_dim``.
        num_blocks: RepVGG blocks in each CSP block.
        positions: ``rows``, or ``published``; see the module.

    Raises:
        ValueError: the lists differ in length, or there are no such positions.
    """

    def __init__(
        self,
        in_features: Sequence[str],
        in_channels: Sequence[int],
        embed_dim: int = 256,
        num_heads: int = 8,
        ffn_dim: int = 1024,
        expansion: float = 1.0,
        num_blocks: int = 3,
        positions: str = "rows",
    ) -> None:
        super().__init__()
        if len(in_features) != len(in_channels):
            raise ValueError(f"in_features names {len(in_features)} maps, in_channels {len(in_channels)}")
        if positions not in POSITIONS:
            raise ValueError(f"positions is {positions!r}; expected one of {', '.join(POSITIONS)}")
        self.in_features, self.embed_dim, self.positions = tuple(in_features), embed_dim, positions
        steps = len(in_channels) - 1
        self.input_proj = nn.ModuleList(ConvNorm(channels, embed_dim, 1) for channels in in_channels)
        self.aifi = AIFILayer(embed_dim, num_heads, ffn_dim)
        self.lateral_convs = nn.ModuleList(ConvNorm(embed_dim, embed_dim, 1, 1, "silu") for _ in range(steps))
        self.fpn_blocks = nn.ModuleList(CSPRep(embed_dim, expansion, num_blocks) for _ in range(steps))
        self.downsample_convs = nn.ModuleList(ConvNorm(embed_dim, embed_dim, 3, 2, "silu") for _ in range(steps))
        self.pan_blocks = nn.ModuleList(CSPRep(embed_dim, expansion, num_blocks) for _ in range(steps))

    def forward(self, features: Mapping[str, Tensor]) -> list[Float[Tensor, "B C _h _w"]]:
        """One map a feature, finest first."""
        maps = [project(features[name]) for name, project in zip(self.in_features, self.input_proj, strict=True)]
        maps[-1] = self._attend(maps[-1])
        return self._fuse(maps)

    def _attend(self, coarse: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        height, width = coarse.shape[2:]
        position = grid_position(height, width, self.embed_dim, self.positions).to(coarse)
        tokens = self.aifi(coarse.flatten(2).transpose(1, 2), position)
        return tokens.transpose(1, 2).unflatten(2, (height, width))

    def _fuse(self, maps: list[Float[Tensor, "B C _h _w"]]) -> list[Float[Tensor, "B C _h _w"]]:
        down = [maps[-1]]  # from coarse to fine; modules are numbered in the order in which they run
        for index, fine in enumerate(reversed(maps[:-1])):
            down[-1] = self.lateral_convs[index](down[-1])
            enlarged = F.interpolate(down[-1], size=fine.shape[2:], mode="nearest")
            down.append(self.fpn_blocks[index](torch.cat([enlarged, fine], dim=1)))
        up = [down.pop()]
        for index, coarse in enumerate(reversed(down)):
            reduced = self.downsample_convs[index](up[-1])
            up.append(self.pan_blocks[index](torch.cat([reduced, coarse], dim=1)))
        return up

    def fuse(self) -> None:
        """Make each RepVGG pair one convolution, for deployment."""
        for module in list(self.modules()):
            if isinstance(module, RepVGGBlock):
                module.fuse()


class AIFILayer(nn.Module):
    """A post-norm transformer layer, with GELU, whose queries and keys carry positions."""

    def __init__(self, embed_dim: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(embed_dim, num_heads, batch_first=True)
        self.linear1 = nn.Linear(embed_dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, embed_dim)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)

    def forward(self, tokens: Float[Tensor, "B S C"], position: Float[Tensor, "S C"]) -> Float[Tensor, "B S C"]:
        """New tokens."""
        placed = tokens + position
        attended, _ = self.self_attn(placed, placed, tokens, need_weights=False)
        tokens = self.norm1(tokens + attended)
        return self.norm2(tokens + self.linear2(F.gelu(self.linear1(tokens))))


class CSPRep(nn.Module):
    """Two maps side by side in, one out: two 1×1 convolutions, of which one goes on through RepVGG blocks."""

    def __init__(self, embed_dim: int, expansion: float, num_blocks: int) -> None:
        super().__init__()
        hidden = int(embed_dim * expansion)
        self.conv1 = ConvNorm(2 * embed_dim, hidden, 1, 1, "silu")
        self.conv2 = ConvNorm(2 * embed_dim, hidden, 1, 1, "silu")
        self.bottlenecks = nn.Sequential(*(RepVGGBlock(hidden) for _ in range(num_blocks)))
        self.conv3 = ConvNorm(hidden, embed_dim, 1, 1, "silu") if hidden != embed_dim else nn.Identity()

    def forward(self, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B C H W"]:
        """The fused map."""
        return self.conv3(self.bottlenecks(self.conv1(x)) + self.conv2(x))


def grid_position(height: int, width: int, embed_dim: int, order: str = "rows") -> Float[Tensor, "S C"]:
    """Sine and cosine of the row, then of the column, for each token of a map, row by row.

    In the order ``published``, tokens are numbered as if the map were laid out column by column, on which the first
    half of the channels then holds the column.
    """
    quarter = embed_dim // 4
    frequency = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    outer, inner = (height, width) if order == "rows" else (width, height)
    first = torch.arange(outer, dtype=torch.float64).repeat_interleave(inner)
    second = torch.arange(inner, dtype=torch.float64).repeat(outer)
    angles = [axis.unsqueeze(1) * frequency for axis in (first, second)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
