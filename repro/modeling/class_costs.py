"""What assigning a query to an object costs for its class: one of the matcher's seams.

A class cost is called with (logits [D, B, Q, K], labels [B, T]) and returns [D, B, Q, T]: how much each query's logits
speak against each object's class. The lower, the better. It is called without gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

ClassCost = Callable[[Tensor, Tensor], Tensor]


class FocalCost:
    """What the focal loss would gain by making the object's class a positive (Deformable DETR, RT-DETR).

    Args:
        alpha: weight of the positives.
        gamma: exponent.
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0) -> None:
        self.alpha, self.gamma = alpha, gamma

    def __call__(self, logits: Float[Tensor, "D B Q K"], labels: Int64[Tensor, "B T"]) -> Float[Tensor, "D B Q T"]:
        """The cost; logits are those of sigmoids, one a class."""
        probability = _of_labels(logits, labels).sigmoid()
        positive = self.alpha * (1 - probability) ** self.gamma * -(probability + 1e-8).log()
        negative = (1 - self.alpha) * probability**self.gamma * -(1 - probability + 1e-8).log()
        return positive - negative


class SoftmaxCost:
    """The negative probability of the object's class (Carion et al. 2020, Section 3.1).

    The published code leaves the 1 of 1 - p out, which no assignment depends on.
    """

    def __call__(self, logits: Float[Tensor, "D B Q K"], labels: Int64[Tensor, "B T"]) -> Float[Tensor, "D B Q T"]:
        """The cost; logits are those of one softmax, whose last class is "no object"."""
        return -_of_labels(logits.softmax(-1), labels)


def _of_labels(values: Float[Tensor, "D B Q K"], labels: Int64[Tensor, "B T"]) -> Float[Tensor, "D B Q T"]:
    """Of each query, the values at the classes of its own image's objects."""
    depth, _, queries, _ = values.shape
    return torch.gather(values, 3, labels[None, :, None].expand(depth, -1, queries, -1))
