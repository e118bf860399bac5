"""The deformable transformer: three calls (encode, start, decode) over four exchangeable parts.

Source: Zhu et al. 2021, "Deformable DETR". The parts are the encoder, where queries start from, which position they
carry in each decoder layer, and how boxes are refined. Since ``decode`` stands alone, further groups of queries
(auxiliary positives, denoising) go through it as queries, with a mask that keeps groups apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from repro.layers.position import SinePosition

from .decoder import Decoded, DeformableDecoder
from .encoder import DeformableEncoder
from .memory import Memory, flatten, positions
from .queries import LearnedPosition, Queries
from .refine import NoRefinement


class DeformableTransformer(nn.Module):
    """Encoder, queries and decoder of a detector.

    Args:
        encoder: maps (memory, position) to memory.
        decoder: runs the queries through its layers.
        queries: makes :class:`Queries` from memory.
        query_position: position of the queries in a decoder layer; default :class:`LearnedPosition`.
        refine: boxes and references from layer to layer; default :class:`NoRefinement`.
    """

    def __init__(
        self,
        encoder: DeformableEncoder,
        decoder: DeformableDecoder,
        queries: nn.Module,
        query_position: nn.Module | None = None,
        refine: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.queries = encoder, decoder, queries
        self.query_position = query_position or LearnedPosition()
        self.refine = refine or NoRefinement()
        self.embed_dim = encoder.embed_dim
        self.position = SinePosition(self.embed_dim)
        self.level_embed = nn.Parameter(torch.randn(encoder.num_levels, self.embed_dim))

    @property
    def num_heads(self) -> int:
        """Class and box heads that the decoder's layers need: one for each, or one that they share."""
        return 1 if self.refine.shared_heads else self.decoder.num_layers

    def encode(
        self, features: Sequence[Float[Tensor, "B C _h _w"]], padding_mask: Bool[Tensor, "B H W"] | None = None
    ) -> Memory:
        """Encode feature maps, finest first.

        Args:
            features: one map a level.
            padding_mask: true at padding, in pixels of the images; None when there is none.
        """
        memory = flatten(features, padding_mask)
        return self.encoder(memory, self._position(memory))

    def start(self, memory: Memory, prompt: Float[Tensor, "B Q C"] | None = None) -> Queries:
        """The queries that the decoder begins with; ``prompt`` is added to learned positions."""
        return self.queries(memory) if prompt is None else self.queries(memory, prompt)

    def decode(
        self,
        queries: Queries,
        memory: Memory,
        box_heads: nn.ModuleList,
        attn_mask: Bool[Tensor, "Q Q"] | None = None,
    ) -> Decoded:
        """States and boxes of every decoder layer; ``attn_mask`` is true where a query may not see another."""
        return self.decoder(queries, memory, box_heads, self.query_position, self.refine, attn_mask)

    def _position(self, memory: Memory) -> Float[Tensor, "B S C"]:
        levels = [place + self.level_embed[i] for i, place in enumerate(positions(memory, self.position))]
        return torch.cat(levels, dim=1).to(memory.tokens.dtype).expand(memory.tokens.shape[0], -1, -1)
