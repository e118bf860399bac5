"""The augmentation of the DETR family: flip, then either resize or resize–crop–resize, with equal chances.

Carion et al. 2020 (arXiv 2005.12872, Sec. 4); DETReg's published code uses it for pretraining and fine-tuning alike,
with other numbers. It rounds as that code does: the longer side is cut off, not rounded, up to a pixel from Detectron2.
Differences: the random numbers come from the generator that the caller hands in; where an image is smaller than the
smallest crop, the crop is the image (the published code raises an error there).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from detectron2.data.transforms import Augmentation
from fvcore.transforms.transform import Transform, TransformList
from torch import Tensor

from repro.data.augmentations.geometry import Crop, Flip, Resize

FINETUNE_SHORT_EDGES = tuple(range(480, 801, 32))  # published code, COCO


def resized(height: int, width: int, short_edge: int, max_size: int | None) -> tuple[int, int]:
    """Size (height, width) of an image whose shorter side becomes `short_edge` unless the longer would pass `max_size`.

    In that case the shorter side is rounded to what the limit leaves. The longer side is always cut off to an integer.
    """
    short, long = min(height, width), max(height, width)
    if max_size is not None and long / short * short_edge > max_size:
        short_edge = round(max_size * short / long)
    if short == short_edge:
        return height, width
    other = int(short_edge * long / short)
    return (other, short_edge) if width < height else (short_edge, other)


class DetrAugmentation(Augmentation):
    """Random flip and random scale, with or without a crop.

    Args:
        short_edges: Lengths of the shorter side to choose from.
        max_size: Limit of the longer side.
        crop_short_edges: Lengths of the shorter side before the crop.
        crop_size: Smallest and largest side of the crop; height and width are drawn apart.
        crop: Probability of the way with the crop.
        flip: Probability of the mirror image.
    """

    def __init__(
        self,
        short_edges: Sequence[int] = FINETUNE_SHORT_EDGES,
        max_size: int = 1333,
        crop_short_edges: Sequence[int] = (400, 500, 600),
        crop_size: tuple[int, int] = (384, 600),
        crop: float = 0.5,
        flip: float = 0.5,
    ) -> None:
        self.short_edges, self.max_size = tuple(short_edges), max_size
        self.crop_short_edges, self.crop_size = tuple(crop_short_edges), tuple(crop_size)
        self.crop, self.flip = crop, flip

    def get_transform(self, image: Tensor, rng: np.random.Generator) -> Transform:
        """Draw a transform for an image [C, H, W]."""
        size = image.shape[-2], image.shape[-1]
        steps: list[Transform] = []
        if rng.random() < self.flip:
            steps.append(Flip(size[1]))
        if rng.random() < self.crop:
            size = self._resize(steps, size, int(rng.choice(self.crop_short_edges)), None)
            size = self._crop(steps, size, rng)
        self._resize(steps, size, int(rng.choice(self.short_edges)), self.max_size)
        return TransformList(steps)

    @staticmethod
    def _resize(
        steps: list[Transform], size: tuple[int, int], short_edge: int, max_size: int | None
    ) -> tuple[int, int]:
        new = resized(*size, short_edge, max_size)
        steps.append(Resize(*size, *new))
        return new

    def _crop(self, steps: list[Transform], size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        smallest, largest = self.crop_size
        width = _side(rng, size[1], smallest, largest)
        height = _side(rng, size[0], smallest, largest)
        y = int(rng.integers(size[0] - height + 1))
        x = int(rng.integers(size[1] - width + 1))
        steps.append(Crop(x, y, width, height, size[1], size[0]))
        return height, width


def _side(rng: np.random.Generator, side: int, smallest: int, largest: int) -> int:
    """A length between `smallest` and `largest` that fits into `side`."""
    return int(rng.integers(min(smallest, side), min(largest, side) + 1))


class ResizeShortEdge(Augmentation):
    """Resize to one size by the rule of `resized`; nothing random. What evaluation uses."""

    def __init__(self, short_edge: int = 800, max_size: int = 1333) -> None:
        self.short_edge, self.max_size = short_edge, max_size

    def get_transform(self, image: Tensor) -> Transform:
        """The transform for an image [C, H, W]."""
        height, width = image.shape[-2:]
        return Resize(height, width, *resized(height, width, self.short_edge, self.max_size))
