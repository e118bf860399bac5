"""Multi-scale training by batches: all images of a step are resized to one side (RT-DETR; the authors' code)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from detectron2.structures import Instances


class MultiScale:
    """Resize a whole batch to a side that is drawn for it, to the nearest pixel, as the authors' code does.

    Args:
        sizes: sides of the square to draw from; a side that is listed more often is drawn more often.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)

    def __call__(self, samples: list[dict[str, Any]], rng: np.random.Generator) -> list[dict[str, Any]]:
        """Samples as training mappers return them, with other images and instances."""
        side = int(rng.choice(self.sizes))
        return [{**sample, **_resized(sample, side)} for sample in samples]


def _resized(sample: dict[str, Any], side: int) -> dict[str, Any]:
    image, objects = sample["image"], sample["instances"]
    boxes = objects.gt_boxes.clone()
    boxes.scale(side / image.shape[2], side / image.shape[1])
    instances = Instances((side, side), **{**objects.get_fields(), "gt_boxes": boxes})
    return {"image": F.interpolate(image.unsqueeze(0), (side, side), mode="nearest")[0], "instances": instances}
