"""DETR's decoder (Carion et al. 2020, Section 3.2): queries attend to each other, then to all tokens of their image.

The state after every layer goes through one last norm before a head reads it, in both orders of normalisation.
Parameters are named as in the published code, where cross-attention is ``multihead_attn``.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .decoder import Decoded
from .detr_encoder import ResidualLayer
from .memory import Memory
from .queries import Queries


class DETRDecoderLayer(ResidualLayer):
    """Self-attention, cross-attention, feed-forward network."""

    def __init__(self, embed_dim: int, num_heads: int, ffn_dim: int, dropout: float, pre_norm: bool) -> None:
        super().__init__(embed_dim, ffn_dim, dropout, pre_norm)
        self.self_attn = nn.MultiheadAttention(embed_dim, num_heads, dropout=dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(embed_dim, num_heads, dropout=dropout, batch_first=True)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.norm3 = nn.LayerNorm(embed_dim)

    def forward(
        self,
        content: Float[Tensor, "B Q C"],
        position: Float[Tensor, "B Q C"],
        memory: Memory,
        attn_mask: Bool[Tensor, "Q Q"] | None = None,
    ) -> Float[Tensor, "B Q C"]:
        """New content; ``attn_mask`` is true where a query (row) may not see another (column)."""

        def to_queries(content: Tensor) -> Tensor:
            query = content + position
            return self.self_attn(query, query, content, attn_mask=attn_mask, need_weights=False)[0]

        def to_memory(content: Tensor) -> Tensor:
            key, mask = memory.tokens + memory.position, memory.padding_mask
            return self.multihead_attn(
                content + position, key, memory.tokens, key_padding_mask=mask, need_weights=False
            )[0]

        content = self.residual(content, self.norm1, to_queries)
        content = self.residual(content, self.norm2, to_memory)
        return self.residual(content, self.norm3, self.feed_forward)


class DETRDecoder(nn.Module):
    """A stack of layers.

    Args:
        embed_dim: channels C.
        num_layers: layers D.
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
        self.embed_dim, self.num_layers = embed_dim, num_layers
        self.layers = nn.ModuleList(
            DETRDecoderLayer(embed_dim, num_heads, ffn_dim, dropout, pre_norm) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(embed_dim)

    def forward(
        self,
        queries: Queries,
        memory: Memory,
        box_head: nn.Module,
        attn_mask: Bool[Tensor, "Q Q"] | None = None,
    ) -> Decoded:
        """Run all layers.

        Args:
            queries: what the queries start from; their position is added in every layer.
            memory: the encoded image.
            box_head: states to boxes in logit space, for all layers.
            attn_mask: true where a query may not see another.
        """
        content, states = queries.content, []
        for layer in self.layers:
            content = layer(content, queries.position, memory, attn_mask)
            states.append(self.norm(content))
        found = torch.stack(states)
        boxes = box_head(found)
        return Decoded(found, boxes.to(torch.promote_types(boxes.dtype, torch.float32)).sigmoid())
