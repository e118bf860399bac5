"""Moving, turning and shearing an image within its frame.

A matrix here maps pixel indices to pixel indices, as OpenCV's `warpAffine` takes it, and boxes go through the same
matrix, though their coordinates count from the edge of the first pixel and not from its middle. So do those of the
published codes; for a turn by 30 degrees the difference is a quarter of a pixel.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from fvcore.transforms.transform import Transform
from torch import Tensor

from repro.data.augmentations.geometry import to_pixels, to_tensor

FILL = 125  # published codes


class Affine(Transform):
    """An affine map; what comes into view is filled.

    Args:
        matrix: [2, 3], from the image to the view.
        height: Of both.
        width: Of both.
        fill: Value of pixels that show nothing.
        nearest: Take the nearest pixel instead of mixing four.
    """

    def __init__(self, matrix: np.ndarray, height: int, width: int, fill: int = FILL, nearest: bool = False) -> None:
        super().__init__()
        self.matrix = np.asarray(matrix, dtype=np.float64)
        self.height, self.width, self.fill, self.nearest = height, width, fill, nearest

    def apply_image(self, img: Tensor) -> Tensor:
        return to_tensor(self._warp(to_pixels(img), self.fill, self.nearest))

    def apply_segmentation(self, segmentation: Tensor) -> Tensor:
        """Labels [P, H, W]: those of the nearest pixel, 0 where there is none."""
        planes = [torch.from_numpy(self._warp(plane, 0, True)) for plane in segmentation.numpy()]
        return torch.stack(planes) if planes else segmentation

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords @ self.matrix[:, :2].T + self.matrix[:, 2]

    def _warp(self, pixels: np.ndarray, fill: int, nearest: bool) -> np.ndarray:
        interpolation = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        return cv2.warpAffine(
            pixels, self.matrix, (self.width, self.height), flags=interpolation, borderValue=(fill,) * 3
        )


def translation(x: float, y: float) -> np.ndarray:
    """Matrix [2, 3] that moves by so many pixels, right and down."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def rotation(degrees: float, height: int, width: int) -> np.ndarray:
    """Matrix [2, 3] that turns clockwise about the middle pixel."""
    return cv2.getRotationMatrix2D(((width - 1) * 0.5, (height - 1) * 0.5), -degrees, 1.0)


def shear(x: float, y: float) -> np.ndarray:
    """Matrix [2, 3] that adds `x` times the row to the column, and `y` times the column to the row."""
    return np.array([[1.0, x, 0.0], [y, 1.0, 0.0]])
