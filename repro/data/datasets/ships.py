"""`ships_{smoke,tiny,small}_{train,test}`: generated images of ships, which stand in for Airbus Ship Detection.

Image `i` of a split depends on (`VERSION`, `SEED`, split, size, `i`) and on nothing else. What is in them:
`repro.data.ship_images`; how they are kept: `repro.data.generated`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from repro.data.dataset import Dataset, Progress, quiet, writable_root
from repro.data.generated import Generated, Image, generate_all
from repro.data.ship_images import CLASSES, Water, draw

VERSION = 1  # raise it when a pixel or a box changes
SEED = 20180730


@dataclass(frozen=True)
class Size:
    """Images in each split, and how they are composed."""

    train: int
    test: int
    water: Water


SIZES = {
    "smoke": Size(16, 8, Water((96, 128), ships=2)),
    "tiny": Size(1000, 120, Water((96, 128), ships=2)),
    "small": Size(3000, 400, Water((128, 160))),
}
SPLITS = ("train", "test")
FIRST_ID = {"train": 1, "test": 1_000_001}  # ids of the two splits never meet


def register(root: Path | None) -> list[Dataset]:
    """Describe the six sets; nothing is generated yet."""
    return [one.dataset(writable_root(root)) for one in _all()]


def _all() -> list[Generated]:
    return [_describe(size, split) for size in SIZES for split in SPLITS]


def _describe(size: str, split: str) -> Generated:
    count = getattr(SIZES[size], split)
    text = json.dumps({"seed": SEED, "count": count, **asdict(SIZES[size].water)}, sort_keys=True)
    return Generated(
        name=f"ships_{size}_{split}",
        family="ships",
        fingerprint=f"ships-v{VERSION}-{size}-{split}-{hashlib.sha256(text.encode()).hexdigest()[:8]}",
        classes=CLASSES,
        count=count,
        first_id=FIRST_ID[split],
        image=partial(image, size, split),
    )


def image(size: str, split: str, index: int) -> Image:
    """Pixels (uint8 RGB) and annotations of one image, index counting from 0."""
    stream = [VERSION, SEED, list(SIZES).index(size), SPLITS.index(split), index]
    return draw(np.random.default_rng(stream), SIZES[size].water)


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Generate all six sets now; there is nothing to copy, so `source` must be None."""
    return generate_all(_all(), source, root, progress)
