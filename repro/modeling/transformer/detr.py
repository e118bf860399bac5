"""DETR's transformer (Carion et al. 2020, Section 3.2): the same three calls as the deformable one, over one map."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from repro.layers.position import SinePosition

from .decoder import Decoded
from .detr_decoder import DETRDecoder
from .detr_encoder import DETREncoder
from .memory import Memory, flatten, positions
from .queries import Queries


class DETRTransformer(nn.Module):
    """Encoder, queries and decoder of a detector.

    Args:
        encoder: memory to memory.
        decoder: runs the queries through its layers.
        queries: makes :class:`Queries` from memory.
        centred_position: count pixels from their centres in the position encoding, as DETReg's DETR does; DETR and
            UP-DETR count 1…n (see :class:`SinePosition`). Weights work with the one that they were trained with.
    """

    num_heads = 1
    """Class and box heads: one of each for all layers."""

    def __init__(
        self, encoder: DETREncoder, decoder: DETRDecoder, queries: nn.Module, centred_position: bool = False
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.queries = encoder, decoder, queries
        self.embed_dim = encoder.embed_dim
        self.position = SinePosition(self.embed_dim, centred=centred_position)
        for part in (encoder, decoder):
            for parameter in part.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)

    def encode(
        self, features: Sequence[Float[Tensor, "B C _h _w"]], padding_mask: Bool[Tensor, "B H W"] | None = None
    ) -> Memory:
        """Encode a feature map.

        Args:
            features: one map, in a list as necks return it.
            padding_mask: true at padding, in pixels of the images; None when there is none.
        """
        memory = flatten(features, padding_mask)
        (position,) = positions(memory, self.position)
        return self.encoder(memory._replace(position=position.to(memory.tokens.dtype)))

    def start(self, memory: Memory, prompt: Float[Tensor, "B Q C"] | None = None) -> Queries:
        """The queries that the decoder begins with; ``prompt`` is added to their positions."""
        return self.queries(memory, prompt)

    def decode(
        self,
        queries: Queries,
        memory: Memory,
        box_heads: nn.ModuleList,
        attn_mask: Bool[Tensor, "Q Q"] | None = None,
    ) -> Decoded:
        """States and boxes of every decoder layer; ``attn_mask`` is true where a query may not see another."""
        return self.decoder(queries, memory, box_heads[0], attn_mask)
