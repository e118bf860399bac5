"""The deformable encoder (Zhu et al. 2021, Section 4.1): every token of every level attends to points around itself.

Layers are post-norm, as published; there is no norm after the last one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .attention import MultiScaleDeformableAttention
from .memory import Memory


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention, then a feed-forward network."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_levels: int,
        num_points: int | Sequence[int],
        ffn_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.self_attn = MultiScaleDeformableAttention(embed_dim, num_heads, num_levels, num_points)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.linear1 = nn.Linear(embed_dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self, memory: Memory, position: Float[Tensor, "B S C"], reference: Float[Tensor, "B S L 2"]
    ) -> Float[Tensor, "B S C"]:
        """New tokens."""
        tokens = memory.tokens
        tokens = self.norm1(tokens + self.dropout(self.self_attn(tokens + position, reference, memory)))
        hidden = self.dropout(F.relu(self.linear1(tokens)))
        return self.norm2(tokens + self.dropout(self.linear2(hidden)))


class DeformableEncoder(nn.Module):
    """A stack of layers.

    Args:
        embed_dim: channels C.
        num_layers: layers.
        num_heads: attention heads.
        num_levels: feature levels L.
        num_points: points of each head on each level.
        ffn_dim: hidden channels of the feed-forward networks.
        dropout: probability, after attention and within and after the feed-forward networks.
    """

    def __init__(
        self,
        embed_dim: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int | Sequence[int] = 4,
        ffn_dim: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embed_dim, self.num_levels = embed_dim, num_levels
        self.layers = nn.ModuleList(
            DeformableEncoderLayer(embed_dim, num_heads, num_levels, num_points, ffn_dim, dropout)
            for _ in range(num_layers)
        )

    def forward(self, memory: Memory, position: Float[Tensor, "B S C"]) -> Memory:
        """Memory with encoded tokens; ``position`` already holds the level's embedding."""
        reference = token_centres(memory).unsqueeze(2) * memory.valid_ratios.unsqueeze(1)
        for layer in self.layers:
            memory = memory._replace(tokens=layer(memory, position, reference))
        return memory


def token_centres(memory: Memory) -> Float[Tensor, "B S 2"]:
    """(x, y) of each token's pixel centre, where 0 and 1 are the edges of the image without its padding."""
    centres = []
    for level, (height, width) in enumerate(memory.spatial_shapes):
        valid = memory.valid_sizes[:, level]
        y = (torch.arange(height, device=valid.device, dtype=valid.dtype) + 0.5) / valid[:, :1]
        x = (torch.arange(width, device=valid.device, dtype=valid.dtype) + 0.5) / valid[:, 1:]
        grid = [x.unsqueeze(1).expand(-1, height, -1), y.unsqueeze(2).expand(-1, -1, width)]
        centres.append(torch.stack(grid, dim=-1).flatten(1, 2))
    return torch.cat(centres, dim=1)
