"""Contrastive denoising: further queries that start from spoilt objects (DINO, Zhang et al. 2022, Section 3.3).

Each object is given to the decoder several times, in groups that do not see each other. In every group it comes twice:
slightly spoilt, to be restored (a positive), and badly spoilt, to be recognised as nothing (a negative). Nothing is
matched, since it is known where each query comes from.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from repro.modeling.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from repro.modeling.matching import Matches, Targets


class Denoising(NamedTuple):
    """N denoising queries: G groups, each of T positives and then T negatives, T being the most objects of an image."""

    labels: Int64[Tensor, "B N"]
    """Class that a query starts as; ``num_classes`` at padding."""
    boxes_cxcywh_rel: Float[Tensor, "B N 4"]
    """Box that it starts from, within (0, 1)."""
    groups: int
    targets: Targets
    """The objects, once a group."""
    matches: Matches
    """For each of ``targets``, its positive; for one set of predictions (D = 1)."""
    objects: bool
    """False when the whole batch shows nothing: the queries are then padding, and their losses mean nothing."""

    def attn_mask(self, num_queries: int) -> Bool[Tensor, "A A"]:
        """For N denoising queries before ``num_queries`` others: true where a query (row) may not see another.

        The others see no denoising query; a group sees itself and the others.
        """
        count = self.labels.shape[1]
        group = torch.arange(count, device=self.labels.device) // (count // self.groups)
        group = torch.cat([group, group.new_full((num_queries,), -1)])
        return (group != group.unsqueeze(1)) & (group != -1)


class ContrastiveDenoising(nn.Module):
    """Makes denoising queries from objects; has no parameters, and draws from torch's global generator.

    Args:
        num_queries: positives of an image: as many groups as fit are made, and at least one.
        label_noise: twice the probability that a query starts as a random class.
        box_noise: how far a corner of a positive may move, in half sizes of its box; of a negative, up to twice as far.
    """

    def __init__(self, num_queries: int = 100, label_noise: float = 0.5, box_noise: float = 1.0) -> None:
        super().__init__()
        self.num_queries, self.label_noise, self.box_noise = num_queries, label_noise, box_noise

    @torch.no_grad()
    def forward(self, targets: Targets, num_classes: int) -> Denoising:
        """Spoil the objects of a batch. Without any, one padding positive and negative are made.

        Those keep the graph of all processes alike, whatever each one's images show.
        """
        labels, boxes, valid = targets.labels, targets.boxes_cxcywh_rel, _valid(targets)
        if not labels.shape[1]:
            labels, boxes, valid = (
                labels.new_zeros(len(labels), 1),
                boxes.new_zeros(len(boxes), 1, 4),
                valid.new_zeros(len(valid), 1),
            )
        most = labels.shape[1]
        groups = max(self.num_queries // most, 1) if any(targets.counts) else 1
        copies = 2 * groups
        start = labels.masked_fill(~valid, num_classes).repeat(1, copies)
        known = valid.repeat(1, copies)
        negative = torch.arange(2, device=labels.device).repeat_interleave(most).repeat(groups)
        return Denoising(
            labels=self._spoil_labels(start, known, num_classes),
            boxes_cxcywh_rel=self._spoil_boxes(boxes.repeat(1, copies, 1), known, negative),
            groups=groups,
            targets=_tiled(labels, boxes, targets.counts, groups),
            matches=_own(valid, groups),
            objects=any(targets.counts),
        )

    def _spoil_labels(
        self, labels: Int64[Tensor, "B N"], known: Bool[Tensor, "B N"], num_classes: int
    ) -> Int64[Tensor, "B N"]:
        chosen = torch.rand(labels.shape, device=labels.device) < self.label_noise * 0.5
        drawn = torch.randint(num_classes, labels.shape, device=labels.device)
        return torch.where(chosen & known, drawn, labels)

    def _spoil_boxes(
        self, boxes: Float[Tensor, "B N 4"], known: Bool[Tensor, "B N"], negative: Int64[Tensor, " N"]
    ) -> Float[Tensor, "B N 4"]:
        """Move each corner's coordinates by a share of the box's half size: below 1 for positives, 1 to 2 otherwise."""
        half = boxes[..., 2:].repeat(1, 1, 2) * (0.5 * self.box_noise)
        sign = torch.randint(2, boxes.shape, device=boxes.device) * 2 - 1
        share = torch.rand(boxes.shape, device=boxes.device, dtype=boxes.dtype) + negative.unsqueeze(-1)
        moved = (cxcywh_to_xyxy(boxes) + sign * share * half).clamp(0, 1)
        # As published, corners may have changed places; a size below zero is then raised to nearly nothing.
        spoilt = torch.where(known.unsqueeze(-1), xyxy_to_cxcywh(moved), boxes.new_zeros(()))
        return spoilt.clamp(1e-5, 1 - 1e-5)


def _valid(targets: Targets) -> Bool[Tensor, "B T"]:
    position = torch.arange(targets.labels.shape[1], device=targets.labels.device)
    return position < position.new_tensor(targets.counts).unsqueeze(1)


def _tiled(
    labels: Int64[Tensor, "B T"], boxes: Float[Tensor, "B T 4"], counts: tuple[int, ...], groups: int
) -> Targets:
    """The objects once a group. Padding stands between groups, so ``counts`` do not say where it is; matches do."""
    return Targets(labels.repeat(1, groups), boxes.repeat(1, groups, 1), tuple(groups * count for count in counts))


def _own(valid: Bool[Tensor, "B T"], groups: int) -> Matches:
    most = valid.shape[1]
    position = torch.arange(groups * most, device=valid.device)
    query = position // most * (2 * most) + position % most
    matched = valid.repeat(1, groups)
    return Matches(query.expand(1, len(valid), -1) * matched, matched.unsqueeze(0))
