"""Samples for UP-DETR's pretraining: random patches of an image as objects, and a crop for each of them.

Dai et al. 2021 (arXiv 2011.09094, Sec. 3.1) with the settings of the published code: width and height of a patch are
drawn on their own, each uniformly from `smallest` to the image's side less `smallest`, and its place so that it fits.
Images too small for that are refused (None), and the loader takes another one. All patches are of class 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from detectron2.data.transforms import Augmentation

from repro.data.augmentations.crops import CropViews
from repro.data.augmentations.geometry import ViewInput
from repro.data.mapper import ImageReader, clip, sample


class RandomPatchMapper:
    """Maps a record to an image with random patches for objects, and their crops.

    Args:
        augmentation: Of the image; published: a random size, no flip, no crop.
        crops: Makes the crops, from the image as it is in the file.
        k: Patches an image.
        smallest: Shortest side of a patch, in pixels of the file.
        channels: Channel order of `image` and `crops`.
        cache_images: Keep decoded images, see `repro.data.mapper.ImageReader`.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        crops: CropViews,
        k: int = 10,
        smallest: int = 8,
        channels: str = "RGB",
        cache_images: bool = False,
    ) -> None:
        self.augmentation, self.crops, self.k, self.smallest = augmentation, crops, k, smallest
        self.reader = ImageReader(channels, cache_images)

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any] | None:
        """Map one record.

        Returns:
            What `TrainMapper` returns, with `gt_classes` all 0, and `crops` (uint8 [N, 3, size, size], one for each
            instance; N is k unless `augmentation` crops); None if the image is not more than twice `smallest` long on
            both sides.
        """
        if min(record["height"], record["width"]) <= 2 * self.smallest:
            return None
        boxes = random_patches(record["height"], record["width"], self.k, self.smallest, rng)
        view = ViewInput(self.reader(record), boxes, rng)
        original = view.image
        self.augmentation(view)
        kept_boxes, kept = clip(view.boxes, *view.image.shape[1:])
        found = sample(record, view.image, kept_boxes, np.zeros(len(kept_boxes)))
        return found | {"crops": self.crops(original, boxes[kept], rng)}


def random_patches(height: int, width: int, count: int, smallest: int, rng: np.random.Generator) -> np.ndarray:
    """Boxes of whole pixels, float64 [count, 4] xyxy, inside an image of `height` × `width`."""
    sides = np.array([width, height])
    sizes = rng.integers(smallest, sides - smallest, (count, 2), endpoint=True)
    low = rng.integers(0, sides - sizes, endpoint=True)
    return np.concatenate([low, low + sizes], axis=1).astype(np.float64)
