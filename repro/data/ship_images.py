"""Draws one image of generated satellite views: a few ships on water, small, elongated, and pointing anywhere.

What makes Airbus Ship Detection unlike COCO: one class, objects of a few pixels' width whose boxes are mostly water,
and clutter (wakes, clouds, a piece of coast) that is brighter than they are. Every image shows a ship, as every image
that the paper trains on does. The image is a function of the random generator and of `Water`, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from repro.data.shape_images import annotate, blob, expose, fill, paint, place

CLASSES = ("ship",)

# Bow to the right, in a square of side 2; y is scaled by the breadth.
HULL = np.array([[1.0, 0.0], [0.6, 0.9], [-0.9, 1.0], [-1.0, 0.6], [-1.0, -0.6], [-0.9, -1.0], [0.6, -0.9]])
MIN_PIXELS = 12  # smaller visible parts are not drawn, so nothing visible goes unannotated


@dataclass(frozen=True)
class Water:
    """How an image is composed; lengths in pixels.

    Attributes:
        sides: Smallest and largest height and width.
        lengths: Of a ship, shortest, and longest as a share of the shorter side (log-uniform between).
        slender: Smallest and largest length over breadth.
        ships: Most ships in an image.
        clouds: Most bright blobs.
    """

    sides: tuple[int, int]
    lengths: tuple[float, float] = (18.0, 0.45)
    slender: tuple[float, float] = (3.0, 6.0)
    ships: int = 4
    clouds: int = 2


def draw(rng: np.random.Generator, water: Water) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Draw one image; see `repro.data.shape_images.draw` for what is returned."""
    height, width = (int(side) for side in rng.integers(water.sides[0], water.sides[1] + 1, 2))
    canvas = _sea(rng, height, width)
    for _ in range(int(rng.integers(0, water.clouds + 1))):
        paint(rng, canvas, blob(rng, height, width), _grey(rng, 150, 230), shade=False)
    taken = np.zeros((height, width), bool)
    annotations: list[dict[str, Any]] = []
    wanted = int(rng.integers(1, water.ships + 1))
    while len(annotations) < wanted:
        mask, wake = _ship(rng, water, height, width)
        if mask.sum() < MIN_PIXELS or (mask & taken).any():
            wanted = max(wanted - 1, 1)  # a crowded image gets fewer ships, but never none
            continue
        if rng.random() < 0.4:
            paint(rng, canvas, wake & ~taken, _grey(rng, 130, 180), shade=False)
        paint(rng, canvas, mask, _grey(rng, 120, 245), shade=False)
        taken |= mask
        annotations.append(annotate(mask, 1))
    return expose(rng, canvas), annotations


def _sea(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Dark blue to green water with a slow change of brightness and small waves: float [height, width, 3]."""
    colour = np.array([rng.uniform(10, 50), rng.uniform(40, 90), rng.uniform(60, 120)], np.float32)
    slow = cv2.resize(rng.random((3, 3), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    waves = rng.normal(0, 1, (height, width)).astype(np.float32)
    return colour + 25 * (slow - 0.5)[..., None] + rng.uniform(2, 6) * cv2.GaussianBlur(waves, (0, 0), 1.0)[..., None]


def _ship(rng: np.random.Generator, water: Water, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of a ship and of its wake."""
    shortest, longest = np.log(water.lengths[0]), np.log(water.lengths[1] * min(height, width))
    half = 0.5 * np.exp(rng.uniform(shortest, max(longest, shortest)))
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([1.0, 1 / rng.uniform(*water.slender)])
    centre = rng.uniform((0, 0), (width, height))
    behind = centre - 1.8 * half * turn[:, 0]
    return (
        fill(height, width, [place(HULL, centre, half, turn)]),
        fill(height, width, [place(HULL, behind, half, turn @ np.diag([0.9, 0.4]))]),
    )


def _grey(rng: np.random.Generator, darkest: float, brightest: float) -> np.ndarray:
    """Two shades, float32 [2, 3] in 0…255."""
    return (rng.uniform(darkest, brightest, (2, 1)) + rng.uniform(-12, 12, (2, 3))).astype(np.float32)
