"""Selective Search (Uijlings et al. 2013, "Selective Search for Object Recognition"), the boxes of OpenCV's presets.

An image is cut into segments in several colour spaces and at several scales (Felzenszwalb & Huttenlocher 2004). The
most similar neighbours are merged until one region is left, once for each strategy, and the box of every region on the
way is a proposal. OpenCV does this in its contrib modules, in an order that is random from run to run, and does not say
how often a region was merged. Here the same boxes come in an order that repeats, each with its level in the hierarchy,
in a quarter of the time: edges are sorted once a colour space, and histograms are counted once a segmentation.

``csrc`` holds the graph part in C++ and serves when ``repro ops build`` has compiled it; image filters are OpenCV's
(``views.py``); ``reference.py`` is the same in NumPy, slow and short, for tests. Where OpenCV leaves the order of equal
weights to an unstable sort, equals keep the order of the pixels here: on a few images in a hundred some box differs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from repro.errors import InstallError, did_you_mean
from repro.ops import library

from .views import view

__all__ = ["PRESETS", "Preset", "available", "selective_search"]

OP = "selective_search"
COLOUR, FILL, TEXTURE, SIZE = 1, 2, 4, 8
MIN_SIZE = 100  # pixels of a segment


class Preset(NamedTuple):
    """What is combined with what.

    Attributes:
        spaces: Colour spaces, `repro.ops.selective_search.views.SPACES`.
        scales: k of the graph segmentation; larger means larger segments.
        strategies: Each a sum of similarities: `COLOUR`, `FILL`, `TEXTURE` and `SIZE`.
    """

    spaces: tuple[str, ...]
    scales: tuple[float, ...]
    strategies: tuple[int, ...]


ALL, COLOURLESS = COLOUR + FILL + TEXTURE + SIZE, FILL + TEXTURE + SIZE
PRESETS = {
    "single": Preset(("hsv",), (200.0,), (ALL,)),
    "fast": Preset(("hsv", "lab"), (150.0, 300.0, 450.0), (ALL, COLOURLESS)),
    "quality": Preset(
        ("hsv", "lab", "grey", "rgi", "blue"), (150.0, 300.0, 450.0, 600.0, 750.0), (ALL, COLOURLESS, FILL, SIZE)
    ),
}
"""OpenCV's, as installed."""


def selective_search(image: np.ndarray, preset: str = "fast") -> tuple[np.ndarray, np.ndarray]:
    """Propose boxes.

    Args:
        image: uint8 [H, W, 3], BGR as OpenCV has it.
        preset: One of `PRESETS`.

    Returns:
        Boxes, int32 [N, 4] xyxy in pixels (the last two not inside), and levels, int32 [N]: 1 for a segment, one more
        than the higher of its parts for a merged region. A box stands there once for each region that has it, in the
        order of colour spaces, scales, strategies and merges.

    Raises:
        InstallError: The operator was not built for this machine; says how to.
        ValueError: There is no such preset, or the image is not what it should be.
    """
    found = _preset(preset)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"image is {image.dtype} {list(image.shape)}; expected uint8 [H, W, 3], not empty")
    if not available():
        raise InstallError(f"Selective Search by our own operator: {library.find(OP).reason}")
    image = np.ascontiguousarray(image)
    parts = []
    for space in found.spaces:
        tensors = (torch.from_numpy(array) for array in view(image, space))
        parts.append(torch.ops.repro.selective_search(*tensors, found.scales, MIN_SIZE, found.strategies))
    boxes, levels = zip(*parts, strict=True)
    return torch.cat(boxes).numpy(), torch.cat(levels).numpy()


def available() -> bool:
    """Whether the operator was built for this machine."""
    return library.load(OP)


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}. {did_you_mean(name, PRESETS)}")
    return PRESETS[name]
