"""Crops of an image, resized and distorted in colour: what DETReg's target encoder sees.

Bar et al. 2022 (arXiv 2106.04550) with the settings of the published code: 128×128 crops of the original image, colour
jitter (0.4, 0.4, 0.4, 0.1) with probability 0.8, greyscale 0.2, Gaussian blur with a radius of 0.1 to 2 pixels 0.5, no
flip. Resizing is torchvision's on uint8; colours are computed in float32 for several crops at a time. Differences: the
order of the four jitters is drawn once an image, not once a crop; rounding to whole levels happens once, at the end;
the blur is a true Gaussian where PIL's is three boxes.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

TOGETHER = 65536  # pixels that are handled at a time, so that they stay in the processor's cache


class CropViews:
    """Cuts boxes out of an image and distorts them.

    Args:
        size: Side of the square crops.
        jitter: Strengths of brightness, contrast, saturation and hue.
        jitter_probability: Of the four together.
        grey_probability: Of greyscale.
        blur_radius: Smallest and largest standard deviation, in pixels of the resized crop.
        blur_probability: Of the blur.
    """

    def __init__(
        self,
        size: int = 128,
        jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1),
        jitter_probability: float = 0.8,
        grey_probability: float = 0.2,
        blur_radius: tuple[float, float] = (0.1, 2.0),
        blur_probability: float = 0.5,
    ) -> None:
        self.size, self.jitter, self.jitter_probability = size, tuple(jitter), jitter_probability
        self.grey_probability = grey_probability
        self.blur_radius, self.blur_probability = tuple(blur_radius), blur_probability

    def __call__(self, image: Tensor, boxes: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Make the crops.

        Args:
            image: uint8 [3, H, W], RGB.
            boxes: [N, 4] xyxy in pixels of the image.
            rng: Where the distortions are drawn from.

        Returns:
            uint8 [N, 3, size, size].
        """
        if not len(boxes):
            return image.new_zeros(0, 3, self.size, self.size)
        crops = torch.stack([self._cut(image, box) for box in boxes]).permute(0, 2, 3, 1)
        drawn = self.draw(len(boxes), rng)
        step = max(TOGETHER // self.size**2, 1)
        parts = [
            self._distort(
                crops[start : start + step].numpy().astype(np.float32, order="C"), drawn.part(start, start + step)
            )
            for start in range(0, len(boxes), step)
        ]
        return torch.from_numpy(np.concatenate(parts)).permute(0, 3, 1, 2).contiguous()

    def _cut(self, image: Tensor, box: np.ndarray) -> Tensor:
        """A box, grown to whole pixels (never empty), resized."""
        height, width = image.shape[1:]
        x0, y0 = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
        x1, y1 = max(min(int(np.ceil(box[2])), width), x0 + 1), max(min(int(np.ceil(box[3])), height), y0 + 1)
        return functional.resize(image[:, y0:y1, x0:x1], [self.size, self.size], antialias=True)

    def draw(self, count: int, rng: np.random.Generator) -> Distortions:
        """Draw distortions for `count` crops."""
        jittered = rng.random(count) < self.jitter_probability
        strengths = np.array(self.jitter[:3])
        factors = rng.uniform(np.maximum(1 - strengths, 0), 1 + strengths, (count, 3))
        hues = rng.uniform(-self.jitter[3], self.jitter[3], count)
        blurs = rng.uniform(*self.blur_radius, count)
        return Distortions(
            order=rng.permutation(4),
            factors=np.where(jittered[:, None], factors, 1).astype(np.float32),
            hues=np.where(jittered, hues, 0).astype(np.float32),
            grey=rng.random(count) < self.grey_probability,
            blurs=np.where(rng.random(count) < self.blur_probability, blurs, 0),
        )

    @staticmethod
    def _distort(pixels: np.ndarray, drawn: Distortions) -> np.ndarray:
        """Distort float32 crops [N, H, W, 3] in 0…255; returns uint8."""
        for kind in drawn.order:
            pixels = shift_hue(pixels, drawn.hues) if kind == 3 else adjust(pixels, int(kind), drawn.factors[:, kind])
        pixels[drawn.grey] = luma(pixels[drawn.grey])
        for index in np.flatnonzero(drawn.blurs):
            pixels[index] = cv2.GaussianBlur(pixels[index], (0, 0), float(drawn.blurs[index]))
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


class Distortions(NamedTuple):
    """What happens to each of N crops.

    Attributes:
        order: Of brightness (0), contrast (1), saturation (2) and hue (3).
        factors: [N, 3]; 1 changes nothing.
        hues: [N], in full circles.
        grey: [N] booleans.
        blurs: [N] standard deviations in pixels; 0 for none.
    """

    order: np.ndarray
    factors: np.ndarray
    hues: np.ndarray
    grey: np.ndarray
    blurs: np.ndarray

    def part(self, start: int, stop: int) -> Distortions:
        """The same for some of the crops."""
        return Distortions(self.order, *(values[start:stop] for values in self[1:]))


def luma(pixels: np.ndarray) -> np.ndarray:
    """Grey of crops [N, H, W, 3] by ITU-R 601, as PIL's: [N, H, W, 1]."""
    count, height, width, _ = pixels.shape
    if not count:
        return pixels[..., :1]
    return cv2.cvtColor(pixels.reshape(count * height, width, 3), cv2.COLOR_RGB2GRAY).reshape(count, height, width, 1)


def adjust(pixels: np.ndarray, kind: int, factors: np.ndarray) -> np.ndarray:
    """Blend crops [N, H, W, 3] with black (kind 0: brightness), mean grey (1: contrast) or grey (2: saturation).

    Works in place, and returns the crops.
    """
    weight = factors[:, None, None, None]
    other = np.float32(0) if kind == 0 else luma(pixels)
    if kind == 1:
        other = other.mean((1, 2), keepdims=True)
    pixels *= weight
    pixels += (1 - weight) * other
    return np.clip(pixels, 0, 255, out=pixels)


def shift_hue(pixels: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Turn the hue of crops [N, H, W, 3] in 0…255 by `shifts` [N], in full circles."""
    if not shifts.any():
        return pixels
    count, height, width, _ = pixels.shape
    hsv = cv2.cvtColor(pixels.reshape(count * height, width, 3), cv2.COLOR_RGB2HSV).reshape(pixels.shape)
    hsv[..., 0] += 360 * (shifts[:, None, None] % 1)  # OpenCV takes hues past 360 degrees, but not below 0
    return cv2.cvtColor(hsv.reshape(count * height, width, 3), cv2.COLOR_HSV2RGB).reshape(pixels.shape)
