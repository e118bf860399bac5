"""Queries that start from the encoder's best tokens: RT-DETR's query selection (Zhao et al. 2024, Section 4.3).

Every token proposes one box, an offset to one around its own place, and the tokens of the highest class score become
queries. The paper's "uncertainty-minimal" selection is no module of its own: it comes from training the scores of the
selected tokens with IoU targets (the varifocal loss).
"""

from __future__ import annotations

import math
from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from repro.layers.mlp import MLP

from .memory import Memory
from .queries import Queries, TokenPredictions
from .two_stage import token_boxes


class EncoderQueries(nn.Module):
    """Heads on the encoder's tokens, and the selection of the best.

    Args:
        num_queries: queries Q; all tokens where there are fewer.
        embed_dim: channels C.
        num_classes: classes K.
    """

    from_boxes = True
    """References are boxes."""

    def __init__(self, num_queries: int, embed_dim: int, num_classes: int) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.enc_output = nn.Sequential(OrderedDict(proj=nn.Linear(embed_dim, embed_dim), norm=nn.LayerNorm(embed_dim)))
        self.enc_score_head = nn.Linear(embed_dim, num_classes)
        self.enc_bbox_head = MLP(embed_dim, embed_dim, 4, num_layers=3)
        nn.init.xavier_uniform_(self.enc_output.proj.weight)
        nn.init.constant_(self.enc_score_head.bias, -math.log(99))
        nn.init.zeros_(self.enc_bbox_head.layers[-1].weight)
        nn.init.zeros_(self.enc_bbox_head.layers[-1].bias)

    def forward(self, memory: Memory) -> Queries:
        """The tokens of the highest class logit, best first; no gradient flows into their content and boxes.

        What they predict is in ``tokens``, through which gradients do flow.
        """
        start, valid = token_boxes(memory)
        features = self.enc_output(memory.tokens.masked_fill(~valid.unsqueeze(-1), 0.0))
        logits = self.enc_score_head(features)
        best = logits.amax(-1).topk(min(self.num_queries, logits.shape[1]), dim=1).indices
        features, logits, start = (_pick(values, best) for values in (features, logits, start))
        boxes = (self.enc_bbox_head(features).to(start.dtype) + start).sigmoid()  # the other tokens' are not used
        return Queries(features.detach(), boxes.detach(), tokens=TokenPredictions(logits, boxes))


def _pick(values: Float[Tensor, "B S X"], index: Tensor) -> Float[Tensor, "B Q X"]:
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
