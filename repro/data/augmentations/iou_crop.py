"""The crop of SSD (Liu et al. 2016, Section 2.2), with the draws of torchvision's `RandomIoUCrop`.

The same sequence of random numbers gives the same crop as torchvision with its defaults, which are RT-DETR's settings.
What differs is the work a trial takes: a few numbers in NumPy, where torchvision's tensors of two took longer than all
the pixels of the sample (forty trials are common before a crop overlaps a box as much as it should).
"""

from __future__ import annotations

import numpy as np
import torch

from .geometry import Crop

SCALE = 0.3, 1.0  # smallest and largest side, against the image's
ASPECT = 0.5, 2.0  # smallest and largest width by height
OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # the last leaves the image as it is
TRIALS = 40  # with one overlap, before another is drawn


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


def draw_crop(height: int, width: int, boxes: np.ndarray) -> IoUCrop | None:
    """Draw a crop from torch's global generator.

    Args:
        height: of the image.
        width: of the image.
        boxes: float64 [N, 4], xyxy in pixels; at least one.

    Returns:
        A crop that holds the centre of a box and overlaps one such box by the IoU that was drawn; None if the image is
        to stay as it is.
    """
    centres = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    while True:
        overlap = OVERLAPS[int(torch.randint(low=0, high=len(OVERLAPS), size=(1,)))]
        if overlap >= 1:
            return None
        for _ in range(TRIALS):
            window = _window(height, width)
            if window is None:
                continue
            inside = ((window[:2] < centres) & (centres < window[2:])).all(1)
            if inside.any() and _ious(boxes[inside], window).max() >= overlap:
                left, top, right, bottom = window.tolist()
                return IoUCrop(left, top, right - left, bottom - top, width, height, inside)


def _window(height: int, width: int) -> np.ndarray | None:
    """A rectangle, xyxy in whole pixels, or None where its shape is not allowed."""
    scale = SCALE[0] + (SCALE[1] - SCALE[0]) * torch.rand(2).numpy()
    new_width, new_height = int(width * scale[0]), int(height * scale[1])
    if not new_height or not ASPECT[0] <= new_width / new_height <= ASPECT[1]:
        return None
    place = torch.rand(2).numpy()
    left, top = int((width - new_width) * place[0]), int((height - new_height) * place[1])
    return np.array([left, top, left + new_width, top + new_height])


def _ious(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """IoU of boxes [N, 4] with one window."""
    sides = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    shared = sides.clip(0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return shared / (areas + (window[2:] - window[:2]).prod() - shared)
