"""A trained detector, asked for what figures show of it: its queries in one image, best first."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn


class Ranked(NamedTuple):
    """What the queries of a detector say of an image.

    Attributes:
        queries: Those that detect something, best first, each once: a query may answer with several classes.
        scores: Of each of these, that of its best class, in 0…1.
        boxes_cxcywh_rel: Of all queries, by number.
    """

    queries: list[int]
    scores: list[float]
    boxes_cxcywh_rel: Float[Tensor, "Q 4"]


def inner(model: nn.Module) -> Any:
    """Return the detector of the DETR family that a model is, or that it holds (as one in pretraining does)."""
    return getattr(model, "detector", model)


@torch.no_grad()
def ranked(model: nn.Module, image: Shaped[Tensor, "3 H W"]) -> Ranked:
    """Return the last layer's answer to one image, RGB in 0…255; never padded, as in inference."""
    detector = inner(model)
    predictions = detector.forward_tensors(*detector.preprocess([image]))
    scores, queries, _ = detector.select(predictions.pred_logits[0].float())
    best: dict[int, float] = {}
    for query, score in zip(queries.tolist(), scores.tolist(), strict=True):
        best.setdefault(query, score)
    return Ranked(list(best), list(best.values()), predictions.pred_boxes[0].float().cpu())
