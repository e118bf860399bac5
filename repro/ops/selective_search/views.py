"""What Selective Search looks at: an image in several colour spaces, smoothed, and its derivatives. All by OpenCV.

These are plain image filters, and two implementations that round them differently find different segments: so they are
OpenCV's own, and ours begins where pixels become regions. How OpenCV's Selective Search calls them is not documented.
It was found by asking its parts: a strategy's similarity of two regions of one pixel each tells whether their bins are
equal.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

SIGMA = float(np.float32(0.8))  # OpenCV's presets hold it in single precision, which moves some segments


class View(NamedTuple):
    """One colour space of an image.

    Attributes:
        pixels: uint8 [H, W, C].
        smoothed: float32 [H, W, C], a Gaussian of `SIGMA` pixels.
        gradients: float32 [4, H, W, C], see `gradients`.
    """

    pixels: np.ndarray
    smoothed: np.ndarray
    gradients: np.ndarray


def view(image: np.ndarray, space: str) -> View:
    """A BGR image [H, W, 3] in a colour space: one of `SPACES`."""
    pixels = np.ascontiguousarray(SPACES[space](image)).reshape(*image.shape[:2], -1)
    smoothed = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), SIGMA)
    return View(pixels, smoothed.reshape(pixels.shape), gradients(pixels))


def _red_green_grey(image: np.ndarray) -> np.ndarray:
    return np.dstack([image[..., 2], image[..., 1], cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)])


def _blue(image: np.ndarray) -> np.ndarray:
    return image[..., 0]


def _hsv(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2HSV)


def _lab(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2Lab)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


SPACES = {
    "hsv": _hsv,
    "lab": _lab,
    "grey": _grey,
    "rgi": _red_green_grey,
    "blue": _blue,  # where the documentation promises the hue
}


def gradients(pixels: np.ndarray) -> np.ndarray:
    """Derivatives (Scharr) along x and y, and along both diagonals: float32 [4, H, W, C].

    The diagonal ones are taken along x and y of the image turned by 45° inside a box that holds it, and turned back.
    OpenCV reads past its memory where an image is more than 2.4 times as wide as high, or the other way round; here
    there is black outside the box.
    """
    height, width = pixels.shape[:2]
    centre = (width / 2, height / 2)
    _, _, box_width, box_height = cv2.RotatedRect(centre, (width, height), 45.0).boundingRect()
    there = cv2.getRotationMatrix2D(centre, 45.0, 1.0)
    there[:, 2] += (box_width / 2 - centre[0], box_height / 2 - centre[1])
    turned = cv2.warpAffine(pixels, there, (box_width, box_height))
    back = cv2.getRotationMatrix2D((box_width // 2, box_height // 2), -45.0, 1.0)
    back[:, 2] -= (int((box_width - width) / 2), int((box_height - height) / 2))  # towards 0, as in C++
    found = np.empty((4, *pixels.shape), np.float32)
    for axis, (dx, dy) in enumerate(((1, 0), (0, 1))):
        found[axis] = cv2.Scharr(pixels, cv2.CV_32F, dx, dy).reshape(pixels.shape)
        diagonal = cv2.Scharr(turned, cv2.CV_32F, dx, dy)
        found[2 + axis] = cv2.warpAffine(diagonal, back, (width, height)).reshape(pixels.shape)
    return found
