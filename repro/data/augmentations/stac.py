"""STAC's strong augmentation (Sohn et al. 2020, arXiv 2005.04757, Sec. 4.1), as the released code has it.

Resized, and mirrored where the images are labelled, an image goes through one colour operation and one geometric one,
in random order, and loses patches at last. The geometric operation moves either the whole image, or the inside of one
object's box, which stays where it is. Facts are those of google-research/ssl_detection (`utils/augmentation.py`,
`data.py`) and of imgaug 0.4.0, whose augmenters it calls with values that say something else than the paper's table:

    patches      1 to 5, squares of 0 or 0.2 of the image's height (a list of two numbers is a choice, no interval),
                 about any point of the image and cut at its edge, value 128
    affine       the nearest pixel or four mixed, at even odds; sheared along y, then along x, by two angles; what comes
                 into view is 125
    colours      Pillow's, which expects RGB, on BGR pixels

An augmentation that leaves no box gives way to the resized image.
"""

from __future__ import annotations

import math

import numpy as np
from detectron2.data.transforms import Augmentation
from fvcore.transforms.transform import Transform, TransformList
from torch import Tensor

from repro.data.augmentations.affine import Affine, rotation, translation
from repro.data.augmentations.geometry import to_pixels, to_tensor
from repro.data.augmentations.soft_teacher import Erase, WeakAugmentation, colour

SWAPPED = {"RGB": "BGR", "BGR": "RGB"}


class InBox(Transform):
    """An affine map of what a box shows, within the box.

    Args:
        corners: Of the box, x0, y0, x1, y1 in whole pixels.
        inner: Maps the box's content.
    """

    def __init__(self, corners: tuple[int, int, int, int], inner: Affine) -> None:
        super().__init__()
        self.corners, self.inner = corners, inner

    def apply_image(self, img: Tensor) -> Tensor:
        x0, y0, x1, y1 = self.corners
        pixels = to_pixels(img).copy()
        inside = to_tensor(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
        pixels[y0:y1, x0:x1] = to_pixels(self.inner.apply_image(inside))
        return to_tensor(pixels)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords


class StrongAugmentation(Augmentation):
    """See the module.

    Args:
        short_edges: Smallest and largest length of the shorter side, both of which can be drawn.
        max_size: Limit of the longer side.
        flip: Probability of the mirror image: 0.5 for labelled images, 0 for pseudo-labelled ones.
        translate: Most that an image is moved, as a share of its side.
        degrees: Most that it is turned or sheared.
        inside: The same two of a box's content.
        patches: Fewest and most patches.
        patch_sizes: Their sides as shares of the image's height, at even odds.
    """

    def __init__(
        self,
        short_edges: tuple[int, int] = (500, 800),
        max_size: int = 1344,
        flip: float = 0.5,
        translate: float = 0.1,
        degrees: float = 30.0,
        inside: tuple[float, float] = (0.05, 10.0),
        patches: tuple[int, int] = (1, 5),
        patch_sizes: tuple[float, ...] = (0.0, 0.2),
    ) -> None:
        self.weak = WeakAugmentation(short_edges, max_size, flip)
        self.whole, self.inside = (translate, degrees), tuple(inside)
        self.patches, self.patch_sizes = tuple(patches), tuple(patch_sizes)

    def get_transform(self, image: Tensor, boxes: np.ndarray, rng: np.random.Generator, channels: str) -> TransformList:
        """Draw a transform for an image [C, H, W] of these channels (RGB or BGR) with boxes [N, 4]."""
        weak = self.weak.get_transform(image, rng)
        if not len(boxes):
            return weak
        height, width = weak.transforms[0].new_height, weak.transforms[0].new_width
        moved = weak.apply_box(boxes)
        both = [colour(rng, SWAPPED[channels], inverse_solarize=True), self.geometry(rng, moved, height, width)]
        if rng.integers(2):
            both.reverse()
        if not _areas(both[0].apply_box(both[1].apply_box(moved)), height, width).any():
            return weak
        return weak + TransformList([*both, self.cutout(rng, height, width)])

    def geometry(self, rng: np.random.Generator, boxes: np.ndarray, height: int, width: int) -> Transform:
        """Of the whole image, or of what one of the boxes shows, with equal chances."""
        if rng.integers(2):
            return affine(rng, height, width, *self.whole)
        limits = np.array([width, height, width, height])
        x0, y0, x1, y1 = (int(value) for value in np.clip(boxes[rng.integers(len(boxes))], 0, limits))
        if x1 <= x0 or y1 <= y0:
            return affine(rng, height, width, 0.0, 0.0)  # less than a pixel of it is in the image
        return InBox((x0, y0, x1, y1), affine(rng, y1 - y0, x1 - x0, *self.inside))

    def cutout(self, rng: np.random.Generator, height: int, width: int) -> Erase:
        """Squares about any point, of which the edge of the image may cut something off."""
        corners = []
        for _ in range(int(rng.integers(self.patches[0], self.patches[1] + 1))):
            half = self.patch_sizes[rng.integers(len(self.patch_sizes))] * height / 2
            x, y = rng.random() * width, rng.random() * height
            ends = (x - half, y - half, x + half, y + half)
            limits = (width, height, width, height)
            corners.append(tuple(min(max(int(end), 0), limit) for end, limit in zip(ends, limits, strict=True)))
        return Erase(corners, fill=128)


def affine(rng: np.random.Generator, height: int, width: int, translate: float, degrees: float) -> Affine:
    """One of four operations on an image of this size, with equal chances: moved along x or y, turned, sheared."""
    kind = int(rng.integers(4))
    if kind == 0:
        matrix = translation(rng.uniform(-translate, translate) * width, 0.0)
    elif kind == 1:
        matrix = translation(0.0, rng.uniform(-translate, translate) * height)
    elif kind == 2:
        matrix = rotation(rng.uniform(-degrees, degrees), height, width)
    else:
        matrix = sheared(*np.radians(rng.uniform(-degrees, degrees, 2)), height, width)
    return Affine(matrix, height, width, nearest=bool(rng.integers(2)))


def sheared(x: float, y: float, height: int, width: int) -> np.ndarray:
    """Matrix [2, 3] of imgaug's shear by these angles (radians) about the middle pixel: along y, then along x.

    An angle turns one axis and leaves the other where it is, so that the image becomes flatter by its cosine, as in
    scikit-image's `AffineTransform` before 0.19, which imgaug calls.
    """
    along_y = np.array([[math.cos(y), 0.0], [math.sin(y), 1.0]])
    along_x = np.array([[1.0, -math.sin(x)], [0.0, math.cos(x)]])
    linear = along_x @ along_y
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([linear, middle - linear @ middle])


def _areas(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area of each box [N, 4] within the image."""
    clipped = np.clip(boxes, 0, np.array([width, height, width, height]))
    sides: np.ndarray = clipped[:, 2:] - clipped[:, :2]
    return sides.prod(1)
