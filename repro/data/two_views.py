"""What a detector reads of an unlabelled image: two views of it, or one with boxes that another detector found.

A view keeps its matrix, from pixels of the original image to its own: a box goes from the weak view to the strong one
by `strong @ inverse(weak)` (Xu et al. 2021; the authors' code).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from detectron2.data.transforms import Augmentation

from repro.data.augmentations.geometry import ViewInput, matrix
from repro.data.mapper import ImageReader, TrainMapper


class TwoViewMapper:
    """Augment an image twice; whatever is known of its objects is not looked at.

    Args:
        weak: A Detectron2 augmentation on tensors, for the teacher's view.
        strong: For the student's.
        channels: Channel order, see `ImageReader`.
        cache_images: Keep decoded images, see `ImageReader`.
    """

    def __init__(
        self, weak: Augmentation, strong: Augmentation, channels: str = "BGR", cache_images: bool = False
    ) -> None:
        self.weak, self.strong = weak, strong
        self.reader = ImageReader(channels, cache_images)

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Map one record.

        Returns:
            `height` and `width` of the file, `image_id`, `file_name`, and the views `weak` and `strong`: each with
            `image` (uint8 [3, h, w]) and `matrix` (float64 [3, 3]).
        """
        about = {key: record[key] for key in ("height", "width", "image_id", "file_name")}
        return {**about, "weak": self._view(record, self.weak, rng), "strong": self._view(record, self.strong, rng)}

    def _view(self, record: dict[str, Any], augmentation: Augmentation, rng: np.random.Generator) -> dict[str, Any]:
        view = ViewInput(self.reader(record), np.zeros((0, 4)), rng, channels=self.reader.channels)
        transform = augmentation(view)
        return {"image": view.image.contiguous(), "matrix": torch.from_numpy(matrix(transform))}


class PseudoLabelMapper(TrainMapper):
    """Augment an image and the boxes that a detector found in it, and mark the sample; arguments are the parent's."""

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Map one record to a sample as `TrainMapper` makes it, with `pseudo: True`."""
        return {**super().__call__(record, rng), "pseudo": True}
