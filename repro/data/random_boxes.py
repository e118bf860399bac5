"""Random boxes: what proposals that know nothing of the image are worth.

Drawn as UP-DETR draws its patches (Dai et al. 2021, published code): width and height are uniform integers from `least`
to the side less `least`, the place is uniform. DETReg's Table 7 has such a row and does not say how it was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repro.data.candidates import Candidates, single
from repro.errors import DataError

STREAM = 4


@dataclass(frozen=True)
class Settings:
    """How boxes are drawn.

    Attributes:
        max_boxes: How many.
        least: Smallest side, in pixels.
    """

    max_boxes: int = 100
    least: int = 8

    size = None  # boxes are in pixels of the image
    ranking = "drawn"  # in the order of drawing

    def __post_init__(self) -> None:
        if self.max_boxes < 1 or self.least < 1:
            raise DataError(f"proposals: max_boxes {self.max_boxes} or least {self.least} is not a positive number")


def search(image: np.ndarray, image_id: int, settings: Settings) -> Candidates:
    """Boxes for an image [H, W, 3], drawn from the image id."""
    rng = np.random.default_rng([STREAM, image_id])
    spans = [_spans(side, settings, rng) for side in (image.shape[1], image.shape[0])]
    return single(np.stack([spans[0][0], spans[1][0], spans[0][1], spans[1][1]], axis=1))


def _spans(side: int, settings: Settings, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel (the latter not inside) along one side."""
    least = min(settings.least, side)
    lengths = rng.integers(least, max(side - settings.least, least) + 1, settings.max_boxes)
    starts = rng.integers(0, side - lengths + 1)
    return starts, starts + lengths
