"""Queries that start from the encoder's best tokens: RT-DETR's query selection (Zhao et al. 2024, Section 4.3).

Every token proposes one box, an offset to an anchor at its own place, and the tokens of the highest class score become
queries. The paper's "uncertainty-minimal" selection is no module of its own: it comes from training the scores of the
selected tokens with IoU targets (the varifocal loss).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from repro.layers.mlp import MLP

from .memory import Memory
from .queries import Queries

ANCHOR_SIZE = 0.05  # of the finest level, in units of the image; doubled from level to level
MARGIN = 0.01  # anchors closer to the border of 0…1 than this are invalid
BEYOND = 1e4  # logit of an invalid anchor: finite, for the sake of quantising tools, and its sigmoid is 1 exactly


class Selected(NamedTuple):
    """The best tokens of the encoder, as queries and as predictions."""

    queries: Queries
    """Content and boxes, through which no gradient flows."""
    logits: Float[Tensor, "B Q K"]
    boxes_cxcywh_rel: Float[Tensor, "B Q 4"]


class EncoderQueries(nn.Module):
    """Heads on the encoder's tokens, and the selection of the best.

    Args:
        num_queries: queries Q; all tokens where there are fewer.
        embed_dim: channels C.
        num_classes: classes K.
    """

    def __init__(self, num_queries: int, embed_dim: int, num_classes: int) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.enc_output = nn.Sequential(
            OrderedDict(proj=nn.Linear(embed_dim, embed_dim), norm=nn.LayerNorm(embed_dim))
        )
        self.enc_score_head = nn.Linear(embed_dim, num_classes)
        self.enc_bbox_head = MLP(embed_dim, embed_dim, 4, num_layers=3)
        nn.init.xavier_uniform_(self.enc_output.proj.weight)
        nn.init.constant_(self.enc_score_head.bias, -math.log(99))
        nn.init.zeros_(self.enc_bbox_head.layers[-1].weight)
        nn.init.zeros_(self.enc_bbox_head.layers[-1].bias)

    def forward(self, memory: Memory) -> Selected:
        """The tokens of the highest class logit, best first."""
        anchor_logits, valid = anchors(memory.spatial_shapes, memory.tokens.device)
        features = self.enc_output(memory.tokens * valid.to(memory.tokens.dtype).unsqueeze(-1))
        logits = self.enc_score_head(features)
        best = logits.amax(-1).topk(min(self.num_queries, logits.shape[1]), dim=1).indices
        features, logits = _pick(features, best), _pick(logits, best)
        delta = self.enc_bbox_head(features)  # of the selected only: the others' boxes are used for nothing
        boxes = (delta + anchor_logits.to(torch.promote_types(delta.dtype, torch.float32))[best]).sigmoid()
        return Selected(Queries(features.detach(), boxes.detach()), logits, boxes)


def anchors(
    spatial_shapes: Sequence[tuple[int, int]], device: torch.device | str | None = None
) -> tuple[Float[Tensor, "S 4"], Bool[Tensor, " S"]]:
    """A square box at the centre of each token, as logits, and which of them are valid.

    Boxes are compared in single precision, as published: at 800 pixels this makes a whole ring of the second level
    invalid, whose centres are at 0.01 but for rounding.
    """
    levels = []
    for level, (height, width) in enumerate(spatial_shapes):
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        size = torch.full_like(rows, ANCHOR_SIZE * 2**level)
        levels.append(torch.stack([columns, rows, size, size], dim=-1).flatten(0, 1))
    boxes = torch.cat(levels)
    valid = ((boxes > MARGIN) & (boxes < 1 - MARGIN)).all(-1)
    return boxes.logit().masked_fill(~valid.unsqueeze(-1), BEYOND), valid


def _pick(values: Float[Tensor, "B S X"], index: Tensor) -> Float[Tensor, "B Q X"]:
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
