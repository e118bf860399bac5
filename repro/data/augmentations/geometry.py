"""Detectron2 transforms on uint8 tensors [C, H, W], and the input that augmentations change in place.

Pixels go through `torchvision.transforms.v2.functional` on uint8 with antialias (at most 2 levels from PIL's resize,
at 3 times its speed), coordinates through fvcore's transforms unchanged. Detectron2's own transforms want NumPy images.
"""

from __future__ import annotations

import numpy as np
import torch
from detectron2.data.transforms import AugInput, Augmentation
from fvcore.transforms.transform import CropTransform, HFlipTransform, NoOpTransform, Transform, TransformList
from torch import Tensor
from torchvision.transforms.v2 import functional


class Flip(HFlipTransform):
    """Mirror left and right."""

    def apply_image(self, img: Tensor) -> Tensor:
        return img.flip(-1)


class Crop(CropTransform):
    """Cut out a rectangle, given by its corner and size."""

    def apply_image(self, img: Tensor) -> Tensor:
        return img[..., self.y0 : self.y0 + self.h, self.x0 : self.x0 + self.w]


class Resize(Transform):
    """Resize to a size, boxes by the same factors."""

    def __init__(self, height: int, width: int, new_height: int, new_width: int) -> None:
        super().__init__()
        self.height, self.width = height, width
        self.new_height, self.new_width = new_height, new_width

    def apply_image(self, img: Tensor) -> Tensor:
        if img.shape[-2:] == (self.new_height, self.new_width):
            return img
        return functional.resize(img, [self.new_height, self.new_width], antialias=True)

    def apply_segmentation(self, segmentation: Tensor) -> Tensor:
        """Labels [P, H, W]: those of the nearest pixel."""
        size = [self.new_height, self.new_width]
        if not len(segmentation):  # torchvision does not resize nothing
            return segmentation.new_zeros((0, *size))
        return functional.resize(segmentation, size, functional.InterpolationMode.NEAREST_EXACT)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords * np.array([self.new_width / self.width, self.new_height / self.height])

    def inverse(self) -> Resize:
        return Resize(self.new_height, self.new_width, self.height, self.width)


class Unchanged(Augmentation):
    """The image as it is: for detectors that resize it themselves."""

    def get_transform(self, image: Tensor) -> Transform:
        """No transform."""
        return NoOpTransform()


class ViewInput(AugInput):
    """What Detectron2's augmentations act on, with a tensor for an image and a random generator of our own.

    Args:
        image: uint8 [C, H, W].
        boxes: float [N, 4], xyxy in pixels.
        rng: Where augmentations draw from, so that nothing depends on a global state.
        planes: Labels of pixels, uint8 [P, H, W], which are filled with 0; None if there are none.
        channels: Of the image, RGB or BGR.
    """

    def __init__(
        self,
        image: Tensor,
        boxes: np.ndarray,
        rng: np.random.Generator,
        planes: Tensor | None = None,
        channels: str = "RGB",
    ) -> None:
        self.image, self.boxes, self.rng, self.planes, self.channels = image, boxes, rng, planes, channels
        self.sem_seg = None

    def transform(self, tfm: Transform) -> None:
        """Apply a transform to image, boxes and planes."""
        self.image = tfm.apply_image(self.image)
        self.boxes = tfm.apply_box(self.boxes) if len(self.boxes) else self.boxes
        self.planes = None if self.planes is None else tfm.apply_segmentation(self.planes)


def matrix(transform: Transform | TransformList) -> np.ndarray:
    """The 3×3 matrix from the image to the view, for transforms that keep lines straight (all of those here)."""
    origin, right, down = transform.apply_coords(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    return np.array([[*(right - origin), 0.0], [*(down - origin), 0.0], [*origin, 1.0]]).T


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 [H, W, C] → a [C, H, W] view of it, channels last in memory, which is what resizing is fastest on."""
    return torch.from_numpy(pixels).permute(2, 0, 1)


def to_pixels(image: Tensor) -> np.ndarray:
    """uint8 [C, H, W] → [H, W, C] in one piece of memory; no copy of what `to_tensor` made."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())
