"""Colour operations of RandAugment with PIL's results, on uint8 arrays [H, W, 3].

PIL's `ImageOps` and `ImageEnhance` define what the published codes of STAC and Soft Teacher do. What maps each value on
its own is a table of 256 entries and equal to PIL bit for bit, at several times its speed; saturation and sharpness go
through OpenCV and differ from PIL by at most one level, in well under 1 % of the pixels (`tests/data/augmentations/`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from fvcore.transforms.transform import Transform
from torch import Tensor

from repro.data.augmentations.geometry import to_pixels, to_tensor

VALUES = np.arange(256)
LUMA = (19595, 38470, 7471)  # of 65536: PIL's weights of red, green and blue (ITU-R 601)
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13  # PIL's ImageFilter.SMOOTH
TRUNCATE = -0.499  # added before OpenCV rounds, so that it cuts off as PIL does


class Colours(Transform):
    """A function of pixels that leaves everything where it is.

    Args:
        function: From uint8 [H, W, 3] to the same; must not write to its argument.
        arguments: Further arguments, by name.
    """

    def __init__(self, function: Callable[..., np.ndarray], **arguments: Any) -> None:
        super().__init__()
        self.function, self.arguments = function, arguments

    def apply_image(self, img: Tensor) -> Tensor:
        return to_tensor(self.function(to_pixels(img), **self.arguments))

    def apply_segmentation(self, segmentation: Tensor) -> Tensor:
        """Labels have no colour."""
        return segmentation

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords


def identity(pixels: np.ndarray) -> np.ndarray:
    """The image as it is."""
    return pixels


def autocontrast(pixels: np.ndarray) -> np.ndarray:
    """Stretch each channel to 0 … 255."""
    tables = []
    for low, high in zip(pixels.min((0, 1)).tolist(), pixels.max((0, 1)).tolist(), strict=True):
        scale = 255.0 / (high - low) if high > low else 1.0
        offset = -low * scale if high > low else 0.0
        tables.append(np.clip((VALUES * scale + offset).astype(int), 0, 255))
    return through(pixels, np.stack(tables, axis=1))


def equalize(pixels: np.ndarray) -> np.ndarray:
    """Make all values of each channel about equally frequent."""
    tables = []
    for channel in range(3):
        counts = cv2.calcHist([pixels], [channel], None, [256], [0, 256]).ravel().astype(np.int64)
        shown = counts[counts > 0]
        step = int(shown.sum() - shown[-1]) // 255
        before = counts.cumsum() - counts
        tables.append(np.clip((step // 2 + before) // step, 0, 255) if step else VALUES)
    return through(pixels, np.stack(tables, axis=1))


def solarize(pixels: np.ndarray, threshold: int) -> np.ndarray:
    """Invert the values from a threshold on."""
    return through(pixels, np.where(threshold <= VALUES, 255 - VALUES, VALUES))


def posterize(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Keep the highest bits."""
    return through(pixels, VALUES & (256 - 2 ** (8 - bits)))


def brightness(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Blend with black: 0 is black, 1 the image, 2 twice as bright."""
    return through(pixels, _blended(0, factor))


def contrast(pixels: np.ndarray, factor: float, channels: str) -> np.ndarray:
    """Blend with the mean grey of the image: 0 is that grey, 1 the image."""
    counts = cv2.calcHist([grey(pixels, channels)], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return through(pixels, _blended(int((counts * VALUES).sum() / counts.sum() + 0.5), factor))


def saturation(pixels: np.ndarray, factor: float, channels: str) -> np.ndarray:
    """Blend with the grey image: 0 is grey, 1 the image. PIL calls it Color."""
    return _blend(cv2.cvtColor(grey(pixels, channels), cv2.COLOR_GRAY2BGR), pixels, factor)


def sharpness(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the smoothed image: 0 is smooth, 1 the image, 2 sharpened."""
    if min(pixels.shape[:2]) < 3:
        return pixels
    smooth = pixels.copy()  # its edge stays as it is
    smooth[1:-1, 1:-1] = cv2.filter2D(pixels, -1, SMOOTH)[1:-1, 1:-1]
    return _blend(smooth, pixels, factor)


def grey(pixels: np.ndarray, channels: str) -> np.ndarray:
    """Luma [H, W], rounded as PIL rounds it; `channels` is RGB or BGR."""
    weights = np.array(LUMA if channels == "RGB" else LUMA[::-1], np.float32) / 65536
    return cv2.transform(pixels, weights[None])


def through(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Look values up: in one table [256], or in one for each channel [256, 3]."""
    return cv2.LUT(pixels, table.astype(np.uint8).reshape(1, 256, -1))


def _blended(other: int, factor: float) -> np.ndarray:
    """What each value becomes when it is blended with one and the same other value."""
    single = np.float32(factor)
    return np.clip(np.float32(other) + single * (VALUES - other).astype(np.float32), 0, 255).astype(int)


def _blend(other: np.ndarray, pixels: np.ndarray, factor: float) -> np.ndarray:
    return cv2.addWeighted(pixels, factor, other, 1 - factor, TRUNCATE)
