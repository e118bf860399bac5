"""How boxes come from a decoder's layers, and what the next layer looks at: one of the transformer's seams.

A layer predicts an offset ``delta`` in logit space. A refinement holds two references: ``sampling``, around which the
next layer looks, and ``prediction``, which the next layer's offset is added to.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Refined(NamedTuple):
    """The result of one layer."""

    boxes_cxcywh_rel: Float[Tensor, "B Q 4"]
    sampling: Float[Tensor, "B Q R"]
    prediction: Float[Tensor, "B Q R"]


def offset_box(delta: Float[Tensor, "B Q 4"], reference: Float[Tensor, "B Q R"]) -> Float[Tensor, "B Q 4"]:
    """The box ``delta`` away from a reference point or box, in logit space."""
    origin = torch.logit(reference, eps=1e-5)
    delta = delta.to(origin.dtype)
    if origin.shape[-1] == 2:
        return torch.cat([delta[..., :2] + origin, delta[..., 2:]], dim=-1).sigmoid()
    return (delta + origin).sigmoid()


class NoRefinement(nn.Module):
    """References stay where the queries started; all layers share one box head (Deformable DETR, DETReg)."""

    shared_heads = True

    def forward(
        self, delta: Float[Tensor, "B Q 4"], sampling: Float[Tensor, "B Q R"], prediction: Float[Tensor, "B Q R"]
    ) -> Refined:
        """Boxes around the references that came in."""
        return Refined(offset_box(delta, prediction), sampling, prediction)


class EachLayer(nn.Module):
    """Each layer corrects the box of the one before, with a head of its own (Zhu et al. 2021, appendix A.4).

    No gradient flows from a layer into the box that it corrects.
    """

    shared_heads = False

    def forward(
        self, delta: Float[Tensor, "B Q 4"], sampling: Float[Tensor, "B Q R"], prediction: Float[Tensor, "B Q R"]
    ) -> Refined:
        """Boxes that are the next layer's references."""
        boxes = offset_box(delta, prediction)
        return Refined(boxes, boxes.detach(), boxes.detach())


class LookForwardTwice(nn.Module):
    """As :class:`EachLayer`, but a layer's loss also trains the box of the layer before (DINO, Zhang et al. 2022, 3.5).

    Where the next layer looks, no gradient flows back; what its offset is added to, lets one through, by one layer.
    """

    shared_heads = False

    def forward(
        self, delta: Float[Tensor, "B Q 4"], sampling: Float[Tensor, "B Q R"], prediction: Float[Tensor, "B Q R"]
    ) -> Refined:
        """Boxes that equal :class:`EachLayer`'s; they differ in what they pass gradients to."""
        boxes = offset_box(delta, sampling)
        return Refined(offset_box(delta, prediction), boxes.detach(), boxes)
