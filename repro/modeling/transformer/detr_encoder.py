"""DETR's encoder (Carion et al. 2020, Section 3.2 and appendix A.3): every token attends to all others of its image.

Both orders of normalisation. Post-norm, as DETR was published: each block's sum is normalised. Pre-norm, as UP-DETR
and DETReg use it: each block's input is normalised, and the output of the last layer once more.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .memory import Memory


class ResidualLayer(nn.Module):
    """What the layers of DETR's encoder and decoder share: residual blocks in either order, and a feed-forward network.

    Args:
        embed_dim: channels C.
        ffn_dim: hidden channels of the feed-forward network.
        dropout: probability, after each block and within the feed-forward network.
        pre_norm: normalise what goes into a block, instead of the sum that comes out.
    """

    def __init__(self, embed_dim: int, ffn_dim: int, dropout: float, pre_norm: bool) -> None:
        super().__init__()
        self.linear1 = nn.Linear(embed_dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm

    def residual(
        self, x: Float[Tensor, "B N C"], norm: nn.Module, block: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "B N C"]:
        """``x`` and what ``block`` makes of it."""
        if self.pre_norm:
            return x + self.dropout(block(norm(x)))
        return norm(x + self.dropout(block(x)))

    def feed_forward(self, x: Float[Tensor, "B N C"]) -> Float[Tensor, "B N C"]:
        """Two linear layers, at each place on its own."""
        return self.linear2(self.dropout(F.relu(self.linear1(x))))


class DETREncoderLayer(ResidualLayer):
    """Self-attention, then a feed-forward network."""

    def __init__(self, embed_dim: int, num_heads: int, ffn_dim: int, dropout: float, pre_norm: bool) -> None:
        super().__init__(embed_dim, ffn_dim, dropout, pre_norm)
        self.self_attn = nn.MultiheadAttention(embed_dim, num_heads, dropout=dropout, batch_first=True)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)

    def forward(self, memory: Memory) -> Float[Tensor, "B S C"]:
        """New tokens."""

        def attend(tokens: Tensor) -> Tensor:
            query = tokens + memory.position
            return self.self_attn(query, query, tokens, key_padding_mask=memory.padding_mask, need_weights=False)[0]

        tokens = self.residual(memory.tokens, self.norm1, attend)
        return self.residual(tokens, self.norm2, self.feed_forward)


class DETREncoder(nn.Module):
    """A stack of layers.

    Args:
        embed_dim: channels C.
        num_layers: layers.
        num_heads: attention heads.
        ffn_dim: hidden channels of the feed-forward networks.
        dropout: probability, in and after attention and within and after the feed-forward networks.
        pre_norm: see :class:`ResidualLayer`.
    """

    def __init__(
        self,
        embed_dim: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        dropout: float = 0.1,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.layers = nn.ModuleList(
            DETREncoderLayer(embed_dim, num_heads, ffn_dim, dropout, pre_norm) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(embed_dim) if pre_norm else nn.Identity()

    def forward(self, memory: Memory) -> Memory:
        """Memory with encoded tokens; it must say where they are (``memory.position``)."""
        for layer in self.layers:
            memory = memory._replace(tokens=layer(memory))
        return memory._replace(tokens=self.norm(memory.tokens))
