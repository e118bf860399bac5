"""A teacher's boxes as ground truth, for detectors of any kind; what set prediction learns from. Ours.

Pseudo boxes and their way from view to view are Soft Teacher's. Its weights of background and its jittering are not
here: a DETR matches its queries one to one, so there are no boxes that overlap with an object and count as background,
and it has no head that would refine a given box. Nothing but the detector contract is asked of the detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .box_losses import scored
from .samples import Views, found, log_counts, matrices, targets, views


class HardLabels:
    """The detector's own losses of unlabelled images, with pseudo boxes for objects.

    Args:
        score_threshold: score above which a detection becomes a pseudo box. Ours; sigmoids of one query each that are
            trained with the focal loss seldom come near 0.9.
    """

    def __init__(self, score_threshold: float = 0.5) -> None:
        self.score_threshold = score_threshold

    def __call__(self, student: nn.Module, teacher: nn.Module, samples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Losses of the student under its own names, unweighted but for the weights that it gives them itself."""
        weak, strong = views(samples)
        sizes = [tuple(view["image"].shape[1:]) for view in strong]
        with torch.no_grad():
            answers = teacher(as_images(weak))
        boxes = [
            found(answer["instances"]).projected(way, size)
            for answer, way, size in zip(answers, matrices(weak, strong), sizes, strict=True)
        ]
        boxes = scored(boxes, self.score_threshold)
        log_counts(boxes=boxes)
        objects = targets(boxes, sizes)
        images = as_images(strong)
        return student([{**image, "instances": entry} for image, entry in zip(images, objects, strict=True)])


def as_images(views: Views) -> Views:
    """Views as images of their own, whose pixels boxes are to be in."""
    return [
        {"image": view["image"], "height": view["image"].shape[1], "width": view["image"].shape[2]} for view in views
    ]
