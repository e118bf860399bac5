"""RT-DETR's photometric distortion on uint8, at OpenCV's speed.

torchvision's `RandomPhotometricDistort` draws what happens (brightness, contrast, saturation, hue, a permutation of the
channels); here it is carried out: what is a function of one level is a table of 256 of them, the saturation is one
matrix, and the hue goes through float32 in strips that stay in the processor's cache. Where torchvision on uint8 cuts
off, so does this, apart from the hue, which is rounded: each of the five is at most one level from torchvision's
(hue: one in a thousand values is two away).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from fvcore.transforms.transform import Transform
from torch import Tensor

from .geometry import to_pixels, to_tensor

LEVELS = np.arange(256, dtype=np.float32)
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R 601
STRIP = 32  # rows that are handled at a time


class Recolour(Transform):
    """Colours changed as torchvision drew it; boxes stay.

    Args:
        drawn: what `RandomPhotometricDistort.make_params` returns.
    """

    def __init__(self, drawn: dict[str, Any]) -> None:
        super().__init__()
        self.drawn = drawn

    def apply_image(self, img: Tensor) -> Tensor:
        """An RGB image, uint8 [3, H, W]."""
        pixels = to_pixels(img)
        return to_tensor(self.part(pixels, slice(0, pixels.shape[0]), slice(0, pixels.shape[1])))

    def apply_segmentation(self, segmentation: Tensor) -> Tensor:
        """Labels have no colour."""
        return segmentation

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def part(self, pixels: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Rows and columns of the changed image [H, W, 3]. The contrast's mean is that of the whole, as ever."""
        drawn = self.drawn
        brightness, contrast, permutation = (
            drawn[key] for key in ("brightness_factor", "contrast_factor", "channel_permutation")
        )
        if brightness is not None:
            pixels = cv2.LUT(pixels, blend(brightness, 0.0))
        if contrast is None:
            pixels = self._saturation_and_hue(pixels[rows, columns])
        elif drawn["contrast_before"]:
            table = blend(contrast, mean_grey(pixels))
            pixels = self._saturation_and_hue(cv2.LUT(pixels[rows, columns], table))
        else:
            pixels = self._saturation_and_hue(pixels)
            pixels = cv2.LUT(pixels[rows, columns], blend(contrast, mean_grey(pixels)))
        return pixels if permutation is None else permuted(pixels, permutation.tolist())

    def _saturation_and_hue(self, pixels: np.ndarray) -> np.ndarray:
        factor, turn = self.drawn["saturation_factor"], self.drawn["hue_factor"]
        if factor is not None:
            pixels = saturated(pixels, factor)
        return pixels if turn is None else turned(pixels, turn)


def blend(factor: float, other: float) -> np.ndarray:
    """The table of `factor` times each level plus the rest of `other`: brightness (0) or contrast (the mean grey)."""
    return np.clip(factor * LEVELS + (1 - factor) * other, 0, 255).astype(np.uint8)


def mean_grey(pixels: np.ndarray) -> float:
    """Mean of an image's [H, W, 3] grey, in levels."""
    return float(GREY @ cv2.mean(pixels)[:3])


def saturated(pixels: np.ndarray, factor: float) -> np.ndarray:
    """`factor` times each pixel of [H, W, 3] plus the rest of its grey."""
    matrix = np.full((3, 4), -0.499)  # OpenCV rounds: this cuts off
    matrix[:, :3] = factor * np.eye(3) + (1 - factor) * GREY
    return cv2.transform(pixels, matrix)


def turned(pixels: np.ndarray, turn: float) -> np.ndarray:
    """The hue of [H, W, 3] turned by `turn`, in full circles."""
    degrees = 360 * (turn % 1)  # OpenCV takes hues past 360 degrees, but not below 0
    changed = np.empty(pixels.shape, np.uint8)
    for start in range(0, len(pixels), STRIP):
        hsv = cv2.cvtColor(pixels[start : start + STRIP].astype(np.float32), cv2.COLOR_RGB2HSV)
        hsv[..., 0] += degrees
        cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), changed[start : start + STRIP])
    return changed


def permuted(pixels: np.ndarray, order: list[int]) -> np.ndarray:
    """Channel `order[i]` of [H, W, 3] as channel i."""
    changed = np.empty(pixels.shape, np.uint8)
    cv2.mixChannels([pixels], [changed], [index for pair in zip(order, range(3), strict=True) for index in pair])
    return changed
