"""Queries that start from the encoder's best boxes: two-stage Deformable DETR (Zhu et al. 2021, appendix A.4).

A head on every token tells objects of any class from the rest, and gives a box around the token's place. The best boxes
become references; their positions and contents are computed from the boxes alone. Meant to go with refinement
(:class:`EachLayer`), as published.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from repro.layers.mlp import MLP
from repro.layers.position import sine_encoding

from .encoder import token_centres
from .memory import Memory
from .queries import Queries, TokenPredictions

SIZE = 0.05  # of the boxes that tokens of the finest level start from; doubled from level to level
MARGIN = 0.01  # boxes with a centre or size nearer than this to 0 or 1 are left out
FAR = 1e4  # a logit whose sigmoid is 1, whatever is added; as published it is infinite, which no quantiser can scale


class TwoStageQueries(nn.Module):
    """Heads on the encoder's tokens, and queries made from the best boxes.

    Args:
        num_queries: queries Q.
        embed_dim: channels C.
        num_classes: outputs of the token's class head. One would do, since only the first is used; the published
            head has as many as the detector's.
    """

    from_boxes = True
    """References are boxes."""

    def __init__(self, num_queries: int, embed_dim: int, num_classes: int) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.enc_output = nn.Linear(embed_dim, embed_dim)
        self.enc_output_norm = nn.LayerNorm(embed_dim)
        self.class_embed = nn.Linear(embed_dim, num_classes)
        self.bbox_embed = MLP(embed_dim, embed_dim, 4, num_layers=3)
        self.pos_trans = nn.Linear(2 * embed_dim, 2 * embed_dim)
        self.pos_trans_norm = nn.LayerNorm(2 * embed_dim)
        for matrix in (self.enc_output.weight, self.pos_trans.weight):
            nn.init.xavier_uniform_(matrix)
        nn.init.constant_(self.class_embed.bias, -math.log(99))
        nn.init.zeros_(self.bbox_embed.layers[-1].weight)
        nn.init.zeros_(self.bbox_embed.layers[-1].bias)

    def forward(self, memory: Memory) -> Queries:
        """The tokens of the highest first logit as queries, best first. No gradient flows into their boxes."""
        start, valid = token_boxes(memory)
        tokens = self.enc_output_norm(self.enc_output(memory.tokens.masked_fill(~valid.unsqueeze(-1), 0.0)))
        logits, delta = self.class_embed(tokens), self.bbox_embed(tokens)
        boxes = (delta.to(start.dtype) + start).sigmoid()
        best = logits[..., 0].topk(self.num_queries, dim=1).indices
        reference = boxes.detach().gather(1, best.unsqueeze(-1).expand(-1, -1, 4))
        position, content = self._embed(reference).chunk(2, dim=-1)
        return Queries(content, reference, position, TokenPredictions(logits, boxes))

    def _embed(self, boxes: Float[Tensor, "B Q 4"]) -> Float[Tensor, "B Q E"]:
        channels = self.pos_trans.in_features // 4
        encoded = sine_encoding(boxes * (2 * math.pi), channels).flatten(-2)
        return self.pos_trans_norm(self.pos_trans(encoded.to(self.pos_trans.weight.dtype)))


def token_boxes(memory: Memory) -> tuple[Float[Tensor, "B S 4"], Bool[Tensor, "B S"]]:
    """The box around each token that its head's offset is added to, as logits, and which tokens have one.

    Tokens in the padding and boxes at the border have none; their logits are `FAR`, so that their box is 1 in all four
    numbers whatever is added.
    """
    centres = token_centres(memory)
    sizes = [
        centres.new_full((height * width, 2), SIZE * 2**level)
        for level, (height, width) in enumerate(memory.spatial_shapes)
    ]
    boxes = torch.cat([centres, torch.cat(sizes).expand_as(centres)], dim=-1)
    valid = ((boxes > MARGIN) & (boxes < 1 - MARGIN)).all(-1)
    if memory.padding_mask is not None:
        valid = valid & ~memory.padding_mask
    return torch.logit(boxes).masked_fill(~valid.unsqueeze(-1), FAR), valid
