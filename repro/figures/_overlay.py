"""Detections drawn on their image, each class in a colour of its own."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from detectron2.utils.visualizer import Visualizer

GOLDEN = 0.61803  # of the circle of hues, from one class to the next: neighbours in number are far apart in colour


def overlay(image: np.ndarray, boxes_xyxy_abs: np.ndarray, labels: Sequence[str], classes: Sequence[int]) -> np.ndarray:
    """Return a copy of an image (RGB uint8 [height, width, 3]) with boxes and labels on it, small boxes on top."""
    drawn = Visualizer(image).overlay_instances(
        boxes=boxes_xyxy_abs.reshape(-1, 4),
        labels=list(labels),
        assigned_colors=[colour(number) for number in classes],
        alpha=0.9,
    )
    return np.ascontiguousarray(drawn.get_image())


def colour(number: int) -> tuple[float, float, float]:
    """Return the colour of a class, RGB in 0…1."""
    return colorsys.hsv_to_rgb(number * GOLDEN % 1, 0.75, 0.95)


def save(image: np.ndarray, path: Path) -> None:
    """Write an image, RGB, as the kind of file that the path's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image[..., ::-1]):
        raise OSError(f"{path} cannot be written")
