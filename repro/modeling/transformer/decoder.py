"""The deformable decoder (Zhu et al. 2021, Section 4.1): queries attend to each other, then to points of the memory.

Layers are post-norm, and named as published: the norm after self-attention is ``norm2``, the one after cross-attention
``norm1``. There is no norm after the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .attention import MultiScaleDeformableAttention
from .memory import Memory
from .queries import Queries


class Decoded(NamedTuple):
    """What D layers made of the queries."""

    states: Float[Tensor, "D B Q C"]
    boxes_cxcywh_rel: Float[Tensor, "D B Q 4"]


class DeformableDecoderLayer(nn.Module):
    """Self-attention, deformable cross-attention, feed-forward network."""

    largest: float | None = None
    """Magnitude that what goes into the last norm is cut off at; None leaves it as it is. RT-DETR (v1) sets it: in half
    precision the feed-forward network of a long training may overflow."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_levels: int,
        num_points: int | Sequence[int],
        ffn_dim: int,
        dropout: float,
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(embed_dim, num_heads, dropout=dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.cross_attn = MultiScaleDeformableAttention(embed_dim, num_heads, num_levels, num_points, mode)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.linear1 = nn.Linear(embed_dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, embed_dim)
        self.norm3 = nn.LayerNorm(embed_dim)
        self.dropout = nn.Dropout(dropout)
        for matrix in (self.self_attn.out_proj.weight, self.linear1.weight, self.linear2.weight):
            nn.init.xavier_uniform_(matrix)

    def forward(
        self,
        content: Float[Tensor, "B Q C"],
        position: Float[Tensor, "B Q C"],
        reference: Float[Tensor, "B Q L R"],
        memory: Memory,
        attn_mask: Bool[Tensor, "Q Q"] | None = None,
    ) -> Float[Tensor, "B Q C"]:
        """New content; ``attn_mask`` is true where a query (row) may not see another (column)."""
        query = content + position
        attended, _ = self.self_attn(query, query, content, attn_mask=attn_mask, need_weights=False)
        content = self.norm2(content + self.dropout(attended))
        attended = self.cross_attn(content + position, reference, memory)
        content = self.norm1(content + self.dropout(attended))
        hidden = self.dropout(F.relu(self.linear1(content)))
        content = content + self.dropout(self.linear2(hidden))
        return self.norm3(content if self.largest is None else content.clamp(-self.largest, self.largest))


class DeformableDecoder(nn.Module):
    """A stack of layers.

    Args:
        embed_dim: channels C.
        num_layers: layers D.
        num_heads: attention heads.
        num_levels: feature levels L.
        num_points: points of each head on each level.
        ffn_dim: hidden channels of the feed-forward networks.
        dropout: probability, in and after attention and within and after the feed-forward networks.
        mode: how a point is read, see :func:`repro.ops.ms_deform_attn.ms_deform_attn`.
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
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        self.embed_dim, self.num_levels, self.num_layers = embed_dim, num_levels, num_layers
        self.layers = nn.ModuleList(
            DeformableDecoderLayer(embed_dim, num_heads, num_levels, num_points, ffn_dim, dropout, mode)
            for _ in range(num_layers)
        )

    def forward(
        self,
        queries: Queries,
        memory: Memory,
        box_heads: nn.ModuleList,
        query_position: nn.Module,
        refine: nn.Module,
        attn_mask: Bool[Tensor, "Q Q"] | None = None,
        depth: int | None = None,
    ) -> Decoded:
        """Run the layers.

        Args:
            queries: what the queries start from.
            memory: the encoded image.
            box_heads: box head of each layer, or one for all.
            query_position: gives each layer the queries' position.
            refine: turns each layer's offsets into boxes and references.
            attn_mask: true where a query may not see another.
            depth: layers to run, from the first; None runs all.
        """
        content, sampling, prediction = queries.content, queries.reference, queries.reference
        states, boxes = [], []
        for index, layer in enumerate(self.layers[:depth]):
            content = layer(content, query_position(queries, sampling), on_levels(sampling, memory), memory, attn_mask)
            delta = box_heads[index if len(box_heads) > 1 else 0](content)
            refined = refine(delta, sampling, prediction)
            sampling, prediction = refined.sampling, refined.prediction
            states.append(content)
            boxes.append(refined.boxes_cxcywh_rel)
        return Decoded(torch.stack(states), torch.stack(boxes))


def on_levels(reference: Float[Tensor, "B Q R"], memory: Memory) -> Float[Tensor, "B Q L R"]:
    """A reference in the image, as a reference in each level's padded map."""
    ratios = memory.valid_ratios
    if reference.shape[-1] == 4:
        ratios = torch.cat([ratios, ratios], dim=-1)
    return reference.unsqueeze(2) * ratios.unsqueeze(1)
