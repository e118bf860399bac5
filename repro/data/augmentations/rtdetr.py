"""RT-DETR's augmentation: colours, zoom-out, IoU crop, flip, stretch (Zhao et al. 2024, Section 5; the authors' code).

What is drawn is what torchvision's transforms draw, with the authors' parameters, which are its defaults: this module
seeds its generator from that of the sample, and makes transforms of what was drawn, which image and boxes follow. In
the order of the authors' code:

1. photometric distortion (brightness, contrast, saturation, hue and a permutation of the channels, each with
   probability 0.5);
2. zoom-out, with probability 0.5, onto a black canvas of one to four times the size;
3. IoU crop, with probability 0.8: a box whose centre is outside the crop is dropped, the others are clipped;
4. boxes with a side below one pixel are dropped;
5. flip, with probability 0.5;
6. resize to a square, whatever the aspect ratio; boxes are looked at again.

A box that is dropped becomes one without any area, which mappers remove. In the last epochs of RT-DETRv2 ("dynamic data
augmentation", Lv et al. 2024, Section 2.2) the first three are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.data.transforms import Augmentation
from fvcore.transforms.transform import Transform, TransformList
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from .geometry import Crop, Flip, Resize, to_pixels, to_tensor
from .iou_crop import draw_crop
from .photometric import Recolour

SMALLEST = 1.0  # pixels, of a box's side


class RTDETRAugmentation(Augmentation):
    """All six steps.

    Args:
        size: (height, width) after the last step.
        photometric: probability of each of the five distortions.
        zoom_out: probability.
        iou_crop: probability.
        flip: probability.
    """

    def __init__(
        self,
        size: tuple[int, int] = (640, 640),
        photometric: float = 0.5,
        zoom_out: float = 0.5,
        iou_crop: float = 0.8,
        flip: float = 0.5,
    ) -> None:
        self.size = tuple(size)
        self.photometric, self.zoom_out, self.iou_crop, self.flip = photometric, zoom_out, iou_crop, flip
        self.colours = v2.RandomPhotometricDistort(p=photometric)
        self.canvas = v2.RandomZoomOut(fill=0, side_range=(1.0, 4.0))

    def get_transform(self, image: Tensor, boxes: np.ndarray, rng: np.random.Generator) -> Transform:
        """Draw a transform for an image [C, H, W] with boxes [N, 4], xyxy in pixels."""
        height, width = image.shape[-2:]
        steps: list[Transform] = []
        with seeded(rng):
            if self.photometric > 0:
                steps.append(Recolour(self.colours.make_params([image])))
            if rng.random() < self.zoom_out:
                steps.append(Pad(height, width, *self.canvas.make_params([image])["padding"]))
                height, width = steps[-1].new_height, steps[-1].new_width
                boxes = steps[-1].apply_box(boxes)
            if rng.random() < self.iou_crop and len(boxes):
                crop = draw_crop(height, width, boxes)
                if crop is not None:
                    steps.append(crop)
                    height, width = crop.h, crop.w
        steps.append(DropSmallBoxes())
        if rng.random() < self.flip:
            steps.append(Flip(width))
        return Fused([*steps, Resize(height, width, *self.size), DropSmallBoxes()])


class StretchResize(Augmentation):
    """Resize to one size, whatever the aspect ratio; nothing random. What evaluation uses."""

    def __init__(self, size: tuple[int, int] = (640, 640)) -> None:
        self.size = tuple(size)

    def get_transform(self, image: Tensor) -> Transform:
        """The transform for an image [C, H, W]."""
        return Resize(image.shape[-2], image.shape[-1], *self.size)


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """torch's global generator, which torchvision draws from, seeded by ours; put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        yield


class Fused(TransformList):
    """The steps, of which only those pixels that are seen in the end are recoloured or put on a canvas.

    The result is that of the steps one after the other, to the bit.
    """

    def _apply(self, x: Any, meth: str) -> Any:
        return self._image(x) if meth == "apply_image" else super()._apply(x, meth)

    def _image(self, image: Tensor) -> Tensor:
        left, top, height, width = 0, 0, image.shape[1], image.shape[2]  # what is seen, from the image's corner
        for step in self.transforms:
            if isinstance(step, Pad):
                left, top, height, width = left - step.left, top - step.top, step.new_height, step.new_width
            elif isinstance(step, Crop):
                left, top, height, width = left + step.x0, top + step.y0, step.h, step.w
        seen = self._seen(to_pixels(image), slice(top, top + height), slice(left, left + width))
        image = to_tensor(seen)
        for step in self.transforms:
            if isinstance(step, Flip | Resize):
                image = step.apply_image(image)
        return image

    def _seen(self, pixels: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Rows and columns, which may lie outside of the image [H, W, C], recoloured."""
        height, width, channels = pixels.shape
        inner_rows, inner_columns = _within(rows, height), _within(columns, width)
        if (inner_rows, inner_columns) == (rows, columns):
            return self._recoloured(pixels, rows, columns)
        canvas = np.zeros((rows.stop - rows.start, columns.stop - columns.start, channels), np.uint8)
        inner = canvas[_shifted(inner_rows, rows.start), _shifted(inner_columns, columns.start)]
        if inner.size:
            inner[:] = self._recoloured(pixels, inner_rows, inner_columns)
        return canvas

    def _recoloured(self, pixels: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        first = self.transforms[0]
        return first.part(pixels, rows, columns) if isinstance(first, Recolour) else pixels[rows, columns]


def _within(span: slice, length: int) -> slice:
    """What of a span lies between 0 and `length`."""
    return slice(min(max(span.start, 0), length), min(max(span.stop, 0), length))


def _shifted(span: slice, origin: int) -> slice:
    """The span, counted from an origin at or before it."""
    return slice(span.start - origin, span.stop - origin)


class Pad(Transform):
    """Put an image onto a black canvas, so many pixels from each of its sides."""

    def __init__(self, height: int, width: int, left: int, top: int, right: int, bottom: int) -> None:
        super().__init__()
        self.left, self.top, self.right, self.bottom = left, top, right, bottom
        self.new_height, self.new_width = height + top + bottom, width + left + right

    def apply_image(self, img: Tensor) -> Tensor:
        return functional.pad(img, [self.left, self.top, self.right, self.bottom])

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords + np.array([self.left, self.top])


class DropSmallBoxes(Transform):
    """Boxes with a side below one pixel lose their area; the image stays."""

    def apply_image(self, img: Tensor) -> Tensor:
        return img

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def apply_box(self, box: np.ndarray) -> np.ndarray:
        """The boxes."""
        kept = ((box[:, 2:] - box[:, :2]) >= SMALLEST).all(1)
        return np.where(kept[:, None], box, 0.0)
