"""Sets of generated images: made in seconds where they are first asked for, the same on every machine.

A set is a function from the number of an image to its pixels and annotations, and the name of a folder that changes
when that function does. Families of `repro.data.datasets` describe theirs with `Generated`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from repro.data.dataset import Dataset, Progress, Source, writable_root
from repro.data.files import make_folder
from repro.data.records import numbered
from repro.errors import DataError

Image = tuple[np.ndarray, list[dict[str, Any]]]
"""Pixels (uint8 RGB [H, W, 3]) and COCO annotations without ids."""


@dataclass(frozen=True)
class Generated:
    """One set.

    Attributes:
        name: The name recipes use.
        family: Folder under the root that holds it.
        fingerprint: Changes when a pixel or a box does.
        classes: In the order of category ids from 1.
        count: How many images.
        first_id: Id of the first image; the next ones follow.
        image: Number from 0 to the image.
    """

    name: str
    family: str
    fingerprint: str
    classes: tuple[str, ...]
    count: int
    first_id: int
    image: Callable[[int], Image]

    def dataset(self, root: Path) -> Dataset:
        """Describe it; nothing is generated yet."""
        return Dataset(
            name=self.name,
            fingerprint=lambda: self.fingerprint,
            source=partial(self.source, root),
            file=lambda: self.generate(root) / "instances.json",
            classes=self.classes,
            categories=partial(numbered, self.classes),
            actual=lambda: self.source(root).annotations["info"]["version"],
        )

    def generate(self, root: Path) -> Path:
        """Folder with `instances.json` and `images/`, made if it is not there yet."""
        return make_folder(root / self.family / self.fingerprint, self._fill)

    def source(self, root: Path) -> Source:
        """Annotations and images, generated if need be.

        Raises:
            DataError: They are damaged.
        """
        file = self.generate(root) / "instances.json"
        try:
            content = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{file} is damaged ({error}); remove {file.parent} to have it generated again") from error
        return Source(content, file.parent / "images", file)

    def _fill(self, folder: Path) -> None:
        import cv2

        (folder / "images").mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(self.count):
            pixels, found = self.image(index)
            image_id = self.first_id + index
            name = f"{image_id:08d}.jpg"
            quality = 75 + (index * 7) % 21
            encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            (folder / "images" / name).write_bytes(encoded.tobytes())
            images.append({"id": image_id, "file_name": name, "height": pixels.shape[0], "width": pixels.shape[1]})
            for entry in found:
                annotations.append({"id": len(annotations) + 1, "image_id": image_id, **entry})
        content = {
            "info": {"description": f"generated {self.family}", "version": self.fingerprint},
            "images": images,
            "annotations": annotations,
            "categories": numbered(self.classes),
        }
        (folder / "instances.json").write_text(json.dumps(content, separators=(",", ":")))


def generate_all(sets: Sequence[Generated], source: Path | None, root: Path, progress: Progress) -> list[str]:
    """What `prepare` of a generated family does: make all its sets now.

    Args:
        sets: The family's.
        source: Must be None, since there is nothing to copy.
        root: Folder of data sets.
        progress: Is told how far it is.

    Returns:
        The sets' folders.

    Raises:
        DataError: There is a source.
    """
    if source is not None:
        raise DataError("these images are generated: leave out --from")
    done = []
    for number, one in enumerate(sets):
        progress("sets", number, len(sets))
        done.append(str(one.generate(writable_root(root))))
    return done
