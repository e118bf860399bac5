"""Where object queries start from, and what position they carry: two of the transformer's seams."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from repro.layers.mlp import MLP

from .memory import Memory


class TokenPredictions(NamedTuple):
    """What the encoder's tokens say by which queries are chosen: all tokens, or those that were chosen."""

    logits: Float[Tensor, "B S K"]
    boxes_cxcywh_rel: Float[Tensor, "B S 4"]


class Queries(NamedTuple):
    """Object queries on their way into the decoder."""

    content: Float[Tensor, "B Q C"]
    reference: Float[Tensor, "B Q R"] | None
    """Points (x, y) or boxes (cx, cy, w, h) in 0…1 of the image, around which the queries look and predict; None where
    queries see the whole image."""
    position: Float[Tensor, "B Q C"] | None = None
    """Fixed positions; None where positions are computed from references."""
    tokens: TokenPredictions | None = None
    """What the queries were chosen by, if it is trained beside the decoder's layers."""


class LearnedQueries(nn.Module):
    """The same learned queries for every image (Zhu et al. 2021, Section 4.1).

    The first half of ``query_embed`` is the position, from which the reference point is predicted too; the second half
    is the initial content.

    Args:
        num_queries: queries Q.
        embed_dim: channels C.
    """

    from_boxes = False
    """References are points."""

    def __init__(self, num_queries: int = 300, embed_dim: int = 256) -> None:
        super().__init__()
        self.query_embed = nn.Embedding(num_queries, 2 * embed_dim)
        self.reference_points = nn.Linear(embed_dim, 2)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)

    def forward(self, memory: Memory, prompt: Float[Tensor, "B Q C"] | None = None) -> Queries:
        """Queries for each image of ``memory``, which they do not depend on.

        Args:
            memory: for the number of images.
            prompt: added to the positions before reference points are predicted from them.
        """
        position, content = self.query_embed.weight.chunk(2, dim=-1)
        if prompt is not None:
            position = position + prompt
        reference = self.reference_points(position).sigmoid()
        batch = memory.tokens.shape[0]
        return Queries(
            content=content.expand(batch, -1, -1),
            reference=reference.to(memory.valid_sizes.dtype).expand(batch, -1, -1),
            position=position.expand(batch, -1, -1),
        )


class LearnedSlots(nn.Module):
    """Queries that differ by a learned position only and start without content (Carion et al. 2020, Section 3.2).

    Args:
        num_queries: queries Q.
        embed_dim: channels C.
    """

    def __init__(self, num_queries: int = 100, embed_dim: int = 256) -> None:
        super().__init__()
        self.query_embed = nn.Embedding(num_queries, embed_dim)

    def forward(self, memory: Memory, prompt: Float[Tensor, "B Q C"] | None = None) -> Queries:
        """Queries for each image of ``memory``, which they do not depend on; ``prompt`` is added to the positions."""
        position = self.query_embed.weight
        if prompt is not None:
            position = position + prompt
        position = position.expand(memory.tokens.shape[0], -1, -1)
        return Queries(content=torch.zeros_like(position), reference=None, position=position)


class LearnedPosition(nn.Module):
    """Every decoder layer adds the position that the queries were born with, whether learned or made from boxes."""

    def forward(self, queries: Queries, reference: Float[Tensor, "B Q R"]) -> Float[Tensor, "B Q C"]:
        """``queries.position``, whatever the present ``reference``.

        Raises:
            ValueError: these queries have no learned position.
        """
        if queries.position is None:
            raise ValueError("LearnedPosition needs queries that carry a position, such as LearnedQueries make")
        return queries.position


class BoxPosition(nn.Module):
    """The position is computed anew in every layer, from the box as it is by then (RT-DETR)."""

    def __init__(self, embed_dim: int = 256) -> None:
        super().__init__()
        self.query_pos_head = MLP(4, 2 * embed_dim, embed_dim, num_layers=2)
        for layer in self.query_pos_head.layers:
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, queries: Queries, reference: Float[Tensor, "B Q 4"]) -> Float[Tensor, "B Q C"]:
        """Position of a box ``reference``, cxcywh in 0…1."""
        return self.query_pos_head(reference.to(queries.content.dtype))
