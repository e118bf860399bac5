"""RT-DETR's augmentation: colours, zoom-out, IoU crop, flip, stretch (Zhao et al. 2024, Section 5; the authors' code).

What is drawn is drawn by torchvision's transforms, with the authors' parameters, which are its defaults: this module
seeds them from the generator of the sample, and turns what they drew into transforms that image and boxes follow. In
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
from torchvision.tv_tensors import BoundingBoxes

from .geometry import Crop, Flip, Resize

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
        self.cut = v2.RandomIoUCrop()

    def get_transform(self, image: Tensor, boxes: np.ndarray, rng: np.random.Generator) -> Transform:
        """Draw a transform for an image [C, H, W] with boxes [N, 4], xyxy in pixels."""
        height, width = image.shape[-2:]
        steps: list[Transform] = []
        with seeded(rng):
            if self.photometric > 0:
                steps.append(Recolour(self.colours, self.colours.make_params([image])))
            if rng.random() < self.zoom_out:
                steps.append(Pad(height, width, *self.canvas.make_params([image])["padding"]))
                height, width = steps[-1].new_height, steps[-1].new_width
                boxes = steps[-1].apply_box(boxes)
            if rng.random() < self.iou_crop and len(boxes):
                height, width = self._crop(steps, height, width, boxes)
        steps.append(DropSmallBoxes())
        if rng.random() < self.flip:
            steps.append(Flip(width))
        return TransformList([*steps, Resize(height, width, *self.size), DropSmallBoxes()])

    def _crop(self, steps: list[Transform], height: int, width: int, boxes: np.ndarray) -> tuple[int, int]:
        """Add the crop, if the image is not to stay as it is, and return its size."""
        tensor = BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=(height, width))
        drawn = self.cut.make_params([tensor])
        if not drawn:
            return height, width
        inside = drawn["is_within_crop_area"].numpy()
        steps.append(IoUCrop(drawn["left"], drawn["top"], drawn["width"], drawn["height"], width, height, inside))
        return drawn["height"], drawn["width"]


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


class Recolour(Transform):
    """Colours as a torchvision transform changes them, given what it drew; boxes stay."""

    def __init__(self, transform: v2.Transform, drawn: dict[str, Any]) -> None:
        super().__init__()
        self.transform, self.drawn = transform, drawn

    def apply_image(self, img: Tensor) -> Tensor:
        return self.transform.transform(img, self.drawn)

    def apply_segmentation(self, segmentation: Tensor) -> Tensor:
        """Labels have no colour."""
        return segmentation

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords


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


class IoUCrop(Crop):
    """A crop that says which of the boxes it keeps.

    Args:
        x0: left edge.
        y0: upper edge.
        w: width.
        h: height.
        orig_w: width of the image.
        orig_h: height of the image.
        inside: for each box, whether it is kept.
    """

    def __init__(self, x0: int, y0: int, w: int, h: int, orig_w: int, orig_h: int, inside: np.ndarray) -> None:
        super().__init__(x0, y0, w, h, orig_w, orig_h)
        self.inside = inside

    def apply_box(self, box: np.ndarray) -> np.ndarray:
        """Boxes in the crop, clipped to it; those that are dropped have no area."""
        cut = np.clip(super().apply_box(box), 0, [self.w, self.h, self.w, self.h])
        return np.where(self.inside[:, None], cut, 0.0)


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
