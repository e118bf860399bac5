"""`shapes_{smoke,tiny,small}_{train,val}`: generated images, the data behind the small scales.

Made in seconds where they are first asked for, from a seed: image `i` of a split depends on (`VERSION`, `SEED`, split,
size, `i`) and on nothing else, so every machine holds the same set. What is in them: `repro.data.shape_images`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from repro.data.dataset import Dataset, Source, writable_root
from repro.data.files import make_folder
from repro.data.records import numbered
from repro.data.shape_images import CLASSES, Scene, draw
from repro.errors import DataError

VERSION = 2  # raise it when a pixel or a box changes
SEED = 20220406


@dataclass(frozen=True)
class Size:
    """Images in each split, and how they are composed."""

    train: int
    val: int
    scene: Scene


# The smaller the budget, the easier the scenes: a detector that is trained for a minute has to learn something.
EASY = Scene((96, 128), diameters=(24.0, 0.7), objects=3, clutter=(0, 3), contrast=0.2)
SIZES = {
    "smoke": Size(16, 8, EASY),
    "tiny": Size(1000, 120, EASY),
    "small": Size(3000, 400, Scene((128, 160), diameters=(18.0, 0.75), objects=4, clutter=(1, 5), contrast=0.25)),
}
SPLITS = ("train", "val")
FIRST_ID = {"train": 1, "val": 1_000_001}  # ids of the two splits never meet


def register(root: Path | None) -> list[Dataset]:
    """Describe the six sets; nothing is generated yet."""
    return [_dataset(size, split, writable_root(root)) for size in SIZES for split in SPLITS]


def _dataset(size: str, split: str, root: Path) -> Dataset:
    return Dataset(
        name=f"shapes_{size}_{split}",
        fingerprint=partial(fingerprint, size, split),
        source=partial(_source, size, split, root),
        file=lambda: generate(size, split, root) / "instances.json",
        classes=CLASSES,
        categories=partial(numbered, CLASSES),
        actual=lambda: _source(size, split, root).annotations["info"]["version"],
    )


def fingerprint(size: str, split: str) -> str:
    """Generator version and a hash of the parameters."""
    parameters = {"seed": SEED, "split": split, "count": getattr(SIZES[size], split), **asdict(SIZES[size].scene)}
    text = json.dumps(parameters, sort_keys=True)
    return f"shapes-v{VERSION}-{size}-{split}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def generate(size: str, split: str, root: Path) -> Path:
    """Folder with `instances.json` and `images/`, made if it is not there yet."""
    return make_folder(root / "shapes" / fingerprint(size, split), partial(_fill, size, split))


def image(size: str, split: str, index: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Pixels (uint8 RGB) and annotations of one image, index counting from 0."""
    stream = np.random.default_rng([VERSION, SEED, sorted(SIZES).index(size), SPLITS.index(split), index])
    return draw(stream, SIZES[size].scene)


def _fill(size: str, split: str, folder: Path) -> None:
    import cv2

    (folder / "images").mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(getattr(SIZES[size], split)):
        pixels, found = image(size, split, index)
        image_id = FIRST_ID[split] + index
        name = f"{image_id:08d}.jpg"
        quality = 75 + (index * 7) % 21
        encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        (folder / "images" / name).write_bytes(encoded.tobytes())
        images.append({"id": image_id, "file_name": name, "height": pixels.shape[0], "width": pixels.shape[1]})
        for entry in found:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **entry})
    content = {
        "info": {"description": "generated shapes", "version": fingerprint(size, split)},
        "images": images,
        "annotations": annotations,
        "categories": numbered(CLASSES),
    }
    (folder / "instances.json").write_text(json.dumps(content, separators=(",", ":")))


def _source(size: str, split: str, root: Path) -> Source:
    file = generate(size, split, root) / "instances.json"
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is damaged ({error}); remove {file.parent} to have it generated again") from error
    return Source(content, file.parent / "images", file)


def prepare(source: Path | None, root: Path, copy: bool = False) -> list[str]:
    """Generate all six sets now; there is nothing to copy, so `source` must be None."""
    if source is not None:
        raise DataError("the shapes are generated: leave out --from")
    return [str(generate(size, split, writable_root(root))) for size in SIZES for split in SPLITS]
