"""What an encoder hands to a decoder: feature maps as one sequence of tokens, and where each token comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from repro.layers.position import SinePosition
from repro.ops.ms_deform_attn import level_starts


class Memory(NamedTuple):
    """Tokens of L feature levels, finest first, each level row by row."""

    tokens: Float[Tensor, "B S C"]
    spatial_shapes: tuple[tuple[int, int], ...]
    """(height, width) of each level, as Python integers."""
    valid_sizes: Float[Tensor, "B L 2"]
    """(height, width) of each level's part that holds the image; the rest, right and below, is padding."""
    padding_mask: Bool[Tensor, "B S"] | None
    """True at padding; None when no image of the batch is padded."""
    position: Float[Tensor, "#B S C"] | None = None
    """Encoding of each token's place, for decoders that add it to their keys."""

    @property
    def level_start_index(self) -> list[int]:
        """Index of each level's first token."""
        return level_starts(self.spatial_shapes)

    @property
    def sizes(self) -> Float[Tensor, "L 2"]:
        """(height, width) of each level as a tensor."""
        return self.valid_sizes.new_tensor(self.spatial_shapes)

    @property
    def valid_ratios(self) -> Float[Tensor, "B L 2"]:
        """(x, y) share of each level that holds the image: scales a point of the image to a point of the padded map."""
        return (self.valid_sizes / self.sizes).flip(-1)


def flatten(features: Sequence[Float[Tensor, "B C _h _w"]], padding_mask: Bool[Tensor, "B H W"] | None) -> Memory:
    """Lay the levels one after another; ``padding_mask``, true at padding, is that of the images, in pixels."""
    shapes = tuple((int(level.shape[2]), int(level.shape[3])) for level in features)
    tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in features], dim=1)
    if padding_mask is None:
        sizes = tokens.new_tensor(shapes, dtype=_at_least_single(tokens.dtype))
        return Memory(tokens, shapes, sizes.expand(tokens.shape[0], -1, -1), None)
    # As published: the pixel mask, resized to the nearest pixel.
    pixels = padding_mask[:, None].to(_at_least_single(tokens.dtype))
    levels = [F.interpolate(pixels, size=shape)[:, 0] for shape in shapes]
    valid = torch.stack([torch.stack([(1 - m[:, :, 0]).sum(1), (1 - m[:, 0]).sum(1)], dim=-1) for m in levels], dim=1)
    return Memory(tokens, shapes, valid, torch.cat([m.flatten(1) for m in levels], dim=1).bool())


def positions(memory: Memory, encoding: SinePosition) -> list[Float[Tensor, "B _s C"]]:
    """Encoding of the places of each level's tokens, for all images if any is padded, else for one and broadcast."""
    sizes = memory.valid_sizes[:1] if memory.padding_mask is None else memory.valid_sizes
    shapes = enumerate(memory.spatial_shapes)
    return [encoding(height, width, sizes[:, level]).flatten(1, 2) for level, (height, width) in shapes]


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    """Positions are never kept in half precision: at width 167 they would be off by half a pixel."""
    return torch.promote_types(dtype, torch.float32)
