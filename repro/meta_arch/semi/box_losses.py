"""What a head that classifies and refines boxes learns from pseudo boxes, be it the only one or a stage of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from repro.modeling.boxes import largest_iou
from repro.modeling.pseudo_boxes import PseudoBoxes
from repro.modeling.soft_weights import Evidence, PerImageLosses, PooledLosses

Losses = PooledLosses | PerImageLosses
Reliability = Callable[[Evidence], Tensor]


def scored(boxes: Sequence[PseudoBoxes], threshold: float) -> list[PseudoBoxes]:
    """Those with a higher foreground score, of each image."""
    return [entry.kept(entry.scores > threshold) for entry in boxes]


def classification(
    losses: Losses,
    reliability: Reliability,
    logits: Float[Tensor, "R _logits"],
    boxes: Sequence[Tensor],
    classes: Sequence[Tensor],
    teacher_background: Sequence[Tensor],
    pseudo: Sequence[Tensor],
) -> Tensor:
    """Cross-entropy of sampled boxes, of which those of background weigh as much as they are reliable.

    Args:
        losses: what becomes of the terms.
        reliability: of background boxes, one of `repro.modeling.soft_weights.INDICATORS`.
        logits: of all images in a row; the last one is the background's.
        boxes: of each image (xyxy), as sampled.
        classes: what they are to be.
        teacher_background: the teacher's probability of background for each.
        pseudo: pseudo boxes of each image.
    """
    counts, background = [len(entry) for entry in boxes], logits.shape[1] - 1
    terms = F.cross_entropy(logits, torch.cat(list(classes)), reduction="none")
    own = logits.detach().float().softmax(-1)[:, -1].split(counts)
    weights = [
        reliability(Evidence(theirs, ours, largest_iou(entry, objects)))
        for theirs, ours, entry, objects in zip(teacher_background, own, boxes, pseudo, strict=True)
    ]
    return losses.classification(terms.split(counts), weights, [entry != background for entry in classes])


def regression(losses: Losses, means: Sequence[Tensor], classes: Sequence[Tensor], num_classes: int) -> Tensor:
    """Distance of the sampled foreground boxes.

    Args:
        losses: what becomes of the terms.
        means: of each image, the sum over its foreground boxes divided by the number of all that were sampled.
        classes: of the sampled boxes of each image; ``num_classes`` for the background.
        num_classes: classes K.
    """
    counts = torch.tensor([len(entry) for entry in classes], dtype=torch.float32, device=means[0].device)
    sums = torch.stack([mean * len(entry) for mean, entry in zip(means, classes, strict=True)]).float()
    foreground = torch.stack([(entry < num_classes).sum() for entry in classes]).float()
    return losses.regression(sums, foreground, counts)
