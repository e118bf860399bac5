"""RT-DETR's decoder side (Zhao et al. 2024, Section 4.1) as a transformer of three calls (encode, start, decode).

What its encoder does is done by a neck, :class:`repro.modeling.hybrid_encoder.HybridEncoder`: here maps are only
projected and laid one after another.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from repro.layers.conv_norm import ConvNorm

from .decoder import Decoded, DeformableDecoder
from .memory import Memory, flatten
from .queries import BoxPosition, Queries
from .refine import LookForwardTwice
from .selection import EncoderQueries

LARGEST = 65504.0  # of half precision


class RTDETRTransformer(nn.Module):
    """Projections, query selection and decoder of a detector.

    Args:
        decoder: runs the queries through its layers.
        queries: chooses them among the tokens.
        in_channels: channels of the maps that come in.
        eval_layers: decoder layers that run in evaluation; None runs all. RT-DETR-M* trains six and runs three.
        version: which published code to follow, 1 or 2. Version 1 leaves the initial feed-forward networks and
            projections as the framework makes them, and cuts off what overflows half precision.

    Raises:
        ValueError: there is no such version, or the decoder has fewer layers.
    """

    def __init__(
        self,
        decoder: DeformableDecoder,
        queries: EncoderQueries,
        in_channels: int = 256,
        eval_layers: int | None = None,
        version: int = 2,
    ) -> None:
        super().__init__()
        if version not in (1, 2):
            raise ValueError(f"version is {version}; expected 1 or 2")
        if eval_layers is not None and not 1 <= eval_layers <= decoder.num_layers:
            raise ValueError(f"eval_layers is {eval_layers}; the decoder has {decoder.num_layers} layers")
        self.decoder, self.queries, self.eval_layers = decoder, queries, eval_layers
        self.embed_dim = decoder.embed_dim
        self.input_proj = nn.ModuleList(ConvNorm(in_channels, self.embed_dim, 1) for _ in range(decoder.num_levels))
        self.query_position, self.refine = BoxPosition(self.embed_dim), LookForwardTwice()
        self._initialise(version)

    def _initialise(self, version: int) -> None:
        for layer in self.decoder.layers:
            layer.self_attn.out_proj.reset_parameters()
            nn.init.zeros_(layer.self_attn.out_proj.bias)
            if version == 1:
                layer.largest = LARGEST
                layer.linear1.reset_parameters()
                layer.linear2.reset_parameters()
        if version == 2:
            for projection in self.input_proj:
                nn.init.xavier_uniform_(projection.conv.weight)

    @property
    def num_heads(self) -> int:
        """Class and box heads that the decoder's layers need."""
        return self.decoder.num_layers

    def encode(
        self, features: Sequence[Float[Tensor, "B C _h _w"]], padding_mask: Bool[Tensor, "B H W"] | None = None
    ) -> Memory:
        """Maps, finest first, as one sequence of tokens.

        Args:
            features: one map a level.
            padding_mask: true at padding, in pixels of the images; None when there is none.
        """
        maps = [project(level) for project, level in zip(self.input_proj, features, strict=True)]
        return flatten(maps, padding_mask)

    def start(self, memory: Memory) -> Queries:
        """The queries that the decoder begins with."""
        return self.queries(memory)

    def decode(
        self,
        queries: Queries,
        memory: Memory,
        box_heads: nn.ModuleList,
        attn_mask: Bool[Tensor, "Q Q"] | None = None,
    ) -> Decoded:
        """States and boxes of the decoder layers; ``attn_mask`` is true where a query may not see another."""
        depth = None if self.training else self.eval_layers
        return self.decoder(queries, memory, box_heads, self.query_position, self.refine, attn_mask, depth)
