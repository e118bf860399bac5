"""What mmdetection 2 does otherwise than Detectron2 when it tells the RPN's anchors what they show.

Two things, both small: an object that no anchor overlaps well gets its best one only from a least overlap on, and
anchors beside an image's own area, which larger images of the batch bring, say nothing. Detectron2 takes every object's
best anchor, however little it overlaps, and every anchor of the batch's canvas for background.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, Instances
from jaxtyping import Float, Int8, Int64
from torch import Tensor

MULTIPLE = 32
"""An image's own area reaches to the next multiple of so many pixels, to which it is padded."""


class MinimumMatcher(Matcher):
    """Assigns anchors to objects, and to each object its best anchors if they overlap enough (mmdetection 2.16).

    Such an anchor goes to that object even where another one overlaps it more; of two such objects to the later one.

    Args:
        thresholds: of an anchor's largest overlap.
        labels: between the thresholds: 1 for object, 0 for background, -1 for neither.
        minimum: least overlap of an object's best anchors.
    """

    def __init__(self, thresholds: Sequence[float], labels: Sequence[int], minimum: float = 0.3) -> None:
        super().__init__(list(thresholds), list(labels), allow_low_quality_matches=False)
        self.minimum = minimum

    def __call__(self, match_quality_matrix: Float[Tensor, "T R"]) -> tuple[Int64[Tensor, " R"], Int8[Tensor, " R"]]:
        """Object and label of each anchor, by the overlaps of objects and anchors."""
        matches, labels = super().__call__(match_quality_matrix)
        if match_quality_matrix.numel():
            best = match_quality_matrix.amax(dim=1)
            for place in (best >= self.minimum).nonzero().flatten().tolist():
                chosen = match_quality_matrix[place] == best[place]
                matches[chosen], labels[chosen] = place, 1
        return matches, labels


class OwnAreaRPN(RPN):
    """Detectron2's RPN, which takes the same arguments; an image teaches it by the anchors of its own area only."""

    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Label (1, 0, or -1 for none) and object's box of every anchor of all levels, by image."""
        every = Boxes.cat(anchors)
        labels, boxes = [], []
        for objects in gt_instances:
            inside = in_own_area(every, objects.image_size)
            found, matched = super().label_and_sample_anchors([every[inside]], [objects])
            labels.append(found[0].new_full((len(every),), -1))
            boxes.append(torch.zeros_like(every.tensor))
            labels[-1][inside], boxes[-1][inside] = found[0], matched[0]
        return labels, boxes


def in_own_area(anchors: Boxes, size: tuple[int, int]) -> Tensor:
    """Which anchors have their cell in the padded area of an image of that size (height, width).

    Cells are told by the anchors' middles, which lie at whole multiples of the strides (``offset=0``).
    """
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in size)
    x, y = anchors.get_centers().unbind(1)
    return (x < width - 1) & (y < height - 1)  # 1: less than any stride, and more than rounding
