"""Soft Teacher's pipelines (Xu et al. 2021), as the released code has them; the paper's appendix describes others.

    labelled   resize, flip, one colour operation
    weak       resize, flip: what the teacher sees
    strong     resize, flip, one colour operation and one geometric one in random order, patches: what the student sees

Every draw of an integer range leaves out its upper end there, where NumPy's does, so there are 1 to 4 patches and
magnitudes from 1 to 9. Sizes are rounded half up and pixels mixed by OpenCV without antialias, as mmcv does both.
Padding and normalising are the model's business.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from detectron2.data.transforms import Augmentation
from fvcore.transforms.transform import NoOpTransform, Transform, TransformList
from torch import Tensor

from repro.data.augmentations import colours
from repro.data.augmentations.affine import FILL, Affine, rotation, shear, translation
from repro.data.augmentations.geometry import Flip, Resize, to_pixels, to_tensor

MAGNITUDES = 10  # the upper end that is never drawn


class BilinearResize(Resize):
    """Resize by OpenCV's bilinear mixing, without antialias."""

    def apply_image(self, img: Tensor) -> Tensor:
        if img.shape[-2:] == (self.new_height, self.new_width):
            return img
        return to_tensor(cv2.resize(to_pixels(img), (self.new_width, self.new_height)))


class Erase(Transform):
    """Fill rectangles; boxes stay, whatever is left of their objects.

    Args:
        patches: Corners (x0, y0, x1, y1) in whole pixels.
        fill: Their value.
    """

    def __init__(self, patches: list[tuple[int, int, int, int]], fill: int = FILL) -> None:
        super().__init__()
        self.patches, self.fill = patches, fill

    def apply_image(self, img: Tensor) -> Tensor:
        return self._filled(img, self.fill)

    def apply_segmentation(self, segmentation: Tensor) -> Tensor:
        """Labels [P, H, W]: nothing is known of what is filled."""
        return self._filled(segmentation, 0)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def _filled(self, planes: Tensor, value: int) -> Tensor:
        filled = planes.clone()
        for x0, y0, x1, y1 in self.patches:
            filled[:, y0:y1, x0:x1] = value
        return filled


def rescaled(height: int, width: int, short_edge: int, max_size: int) -> tuple[int, int]:
    """Size (height, width) after scaling the shorter side to `short_edge`, or the longer one to `max_size` if less."""
    scale = min(max_size / max(height, width), short_edge / min(height, width))
    return int(height * scale + 0.5), int(width * scale + 0.5)


class KeepRatioResize(Augmentation):
    """Resize to one size; nothing random. What evaluation uses."""

    def __init__(self, short_edge: int = 800, max_size: int = 1333) -> None:
        self.short_edge, self.max_size = short_edge, max_size

    def get_transform(self, image: Tensor) -> Transform:
        """The transform for an image [C, H, W]."""
        height, width = image.shape[-2:]
        return BilinearResize(height, width, *rescaled(height, width, self.short_edge, self.max_size))


class WeakAugmentation(Augmentation):
    """Random size, random flip.

    Args:
        short_edges: Smallest and largest length of the shorter side, both of which can be drawn.
        max_size: Limit of the longer side.
        flip: Probability of the mirror image.
    """

    def __init__(self, short_edges: tuple[int, int] = (400, 1200), max_size: int = 1333, flip: float = 0.5) -> None:
        self.short_edges, self.max_size, self.flip = tuple(short_edges), max_size, flip

    def get_transform(self, image: Tensor, rng: np.random.Generator) -> TransformList:
        """Draw a transform for an image [C, H, W]."""
        height, width = image.shape[-2:]
        short_edge = int(rng.integers(self.short_edges[0], self.short_edges[1] + 1))
        resize = BilinearResize(height, width, *rescaled(height, width, short_edge, self.max_size))
        flip = Flip(resize.new_width) if rng.random() < self.flip else NoOpTransform()
        return TransformList([resize, flip])


class LabelledAugmentation(Augmentation):
    """Random size, random flip, one colour operation; for labelled images, with and without a teacher.

    Args:
        short_edges, max_size, flip: See `WeakAugmentation`.
    """

    def __init__(self, short_edges: tuple[int, int] = (400, 1200), max_size: int = 1333, flip: float = 0.5) -> None:
        self.weak = WeakAugmentation(short_edges, max_size, flip)

    def get_transform(self, image: Tensor, rng: np.random.Generator, channels: str) -> TransformList:
        """Draw a transform for an image [C, H, W] of these channels (RGB or BGR)."""
        return self.weak.get_transform(image, rng) + TransformList([colour(rng, channels)])


class StrongAugmentation(Augmentation):
    """Random size and flip, colour and geometry in random order, then patches.

    Args:
        short_edges, max_size, flip: See `WeakAugmentation`.
        translate: Most that an image is moved, as a share of its side.
        rotate: Most that it is turned, in degrees.
        shear: Most that it is sheared, in degrees; the slope is their hyperbolic tangent, as published.
        patches: How many patches: from the first number to one below the second.
        patch_size: Smallest and largest side of a patch, as a share of the image's sides.
    """

    def __init__(
        self,
        short_edges: tuple[int, int] = (400, 1200),
        max_size: int = 1333,
        flip: float = 0.5,
        translate: float = 0.1,
        rotate: float = 30.0,
        shear: float = 30.0,
        patches: tuple[int, int] = (1, 5),
        patch_size: tuple[float, float] = (0.0, 0.2),
    ) -> None:
        self.weak = WeakAugmentation(short_edges, max_size, flip)
        self.translate, self.rotate, self.shear = translate, rotate, shear
        self.patches, self.patch_size = tuple(patches), tuple(patch_size)

    def get_transform(self, image: Tensor, rng: np.random.Generator, channels: str) -> TransformList:
        """Draw a transform for an image [C, H, W] of these channels (RGB or BGR)."""
        weak = self.weak.get_transform(image, rng)
        size = weak.transforms[0].new_height, weak.transforms[0].new_width
        both = [[colour(rng, channels)], self.geometry(rng, *size)]
        first = int(rng.integers(2))
        return weak + TransformList([*both[first], *both[1 - first], self.erase(rng, *size)])

    def geometry(self, rng: np.random.Generator, height: int, width: int) -> list[Transform]:
        """One of four operations, with equal chances."""
        kind = int(rng.integers(4))
        if kind == 0:
            matrices = [translation(rng.uniform(-self.translate, self.translate) * width, 0.0)]
        elif kind == 1:
            matrices = [translation(0.0, rng.uniform(-self.translate, self.translate) * height)]
        elif kind == 2:
            matrices = [rotation(rng.uniform(-self.rotate, self.rotate), height, width)]
        else:
            slopes = np.tanh(np.radians(rng.uniform(-self.shear, self.shear, 2)))
            matrices = [shear(-slopes[0], 0.0), shear(0.0, slopes[1])]  # one after the other, each cut to the frame
        return [Affine(matrix, height, width) for matrix in matrices]

    def erase(self, rng: np.random.Generator, height: int, width: int) -> Erase:
        """Patches of the image's own shape, each wholly inside."""
        patches = []
        for _ in range(int(rng.integers(*self.patches))):
            ratio = rng.uniform(*self.patch_size)
            high, broad = int(ratio * height), int(ratio * width)
            x, y = int(rng.integers(width - broad)), int(rng.integers(height - high))
            patches.append((x, y, x + broad, y + high))
        return Erase(patches)


def colour(rng: np.random.Generator, channels: str, inverse_solarize: bool = False) -> Transform:
    """One of nine operations, with equal chances; the identity is one of them.

    Args:
        rng: Where operation and magnitude are drawn from.
        channels: RGB or BGR.
        inverse_solarize: A greater magnitude solarizes more, as in STAC, not less, as in Soft Teacher.
    """
    name = OPERATIONS[int(rng.integers(len(OPERATIONS)))]
    magnitude = int(rng.integers(1, MAGNITUDES))
    factor = 1.8 * magnitude / MAGNITUDES + 0.1
    threshold = 256 * magnitude // MAGNITUDES
    arguments = {
        "solarize": {"threshold": 256 - threshold if inverse_solarize else min(threshold, 255)},
        "posterize": {"bits": 4 - 4 * magnitude // MAGNITUDES},
        "brightness": {"factor": factor},
        "contrast": {"factor": factor, "channels": channels},
        "saturation": {"factor": factor, "channels": channels},
        "sharpness": {"factor": factor},
    }
    function: Callable[..., np.ndarray] = getattr(colours, name)
    return colours.Colours(function, **arguments.get(name, {}))


OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "solarize",
    "saturation",
    "contrast",
    "brightness",
    "sharpness",
    "posterize",
)
