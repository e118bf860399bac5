"""From a dataset dictionary to what a detector eats: `image` (uint8, C×H×W), sizes, `instances`.

Boxes follow the image through the same transforms, are clipped to the view, and those of which nothing is left are
removed. Crowds are left out of training targets; images without objects stay. Random numbers come from a generator
that the caller hands in, so a sample is a function of (record, generator) and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data.transforms import Augmentation
from detectron2.structures import Boxes, Instances
from torch import Tensor

from repro.data.augmentations.geometry import ViewInput, to_tensor
from repro.data.images import read_image
from repro.data.pixel_labels import PixelLabels
from repro.errors import DataError


class ImageReader:
    """Reads images as uint8 tensors [3, H, W], and may keep them decoded.

    Args:
        channels: "RGB" or "BGR", as the weights need it.
        cache: Keep every image in memory: for small sets it saves most of the work of an epoch. `preload` fills the
            cache before worker processes are forked, so that they share it.
    """

    def __init__(self, channels: str = "RGB", cache: bool = False) -> None:
        if channels not in ("RGB", "BGR"):
            raise DataError(f"channels are RGB or BGR, not {channels}")
        self.channels, self.cache = channels, cache
        self._images: dict[str, Tensor] = {}

    def __call__(self, record: dict[str, Any]) -> Tensor:
        """Pixels of a record's image; not to be written to.

        Raises:
            DataError: The file cannot be read, or is not as large as the record says.
        """
        name = record["file_name"]
        if name in self._images:
            return self._images[name]
        try:
            image = to_tensor(read_image(name, self.channels))
        except OSError as error:
            raise DataError(f"image {record['image_id']}: {error}") from error
        if tuple(image.shape[1:]) != (record["height"], record["width"]):
            stated = f"{record['width']}×{record['height']}"
            raise DataError(f"image {record['image_id']}: {name} is {image.shape[2]}×{image.shape[1]}, not {stated}")
        if self.cache:
            self._images[name] = image
        return image

    def preload(self, records: Sequence[dict[str, Any]]) -> None:
        """Decode all images now if they are to be kept."""
        if self.cache:
            for record in records:
                self(record)


class TrainMapper:
    """Augment an image and its objects.

    Args:
        augmentation: A Detectron2 augmentation on tensors (`repro.data.augmentations`).
        channels: Channel order, see `ImageReader`.
        cache_images: Keep decoded images, see `ImageReader`.
        pixels: Masks and semantic maps; None for detectors of boxes.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        channels: str = "RGB",
        cache_images: bool = False,
        pixels: PixelLabels | None = None,
    ) -> None:
        self.augmentation, self.pixels = augmentation, pixels
        self.reader = ImageReader(channels, cache_images)

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Map one record.

        Returns:
            `image` (uint8 [3, h, w]), `height` and `width` of the file, `image_id`, `file_name`, and `instances` with
            `gt_boxes` (absolute xyxy in the view) and `gt_classes`. With `pixels` also `gt_masks` and `sem_seg`.
        """
        objects = [entry for entry in record["annotations"] if not entry["iscrowd"]]
        boxes = np.array([entry["bbox"] for entry in objects], dtype=np.float64).reshape(-1, 4)
        classes = np.array([entry["category_id"] for entry in objects], dtype=np.int64)
        planes = None if self.pixels is None else self.pixels.planes(record, objects)
        view = ViewInput(self.reader(record), boxes, rng, planes, self.reader.channels)
        self.augmentation(view)
        kept_boxes, kept = clip(view.boxes, *view.image.shape[1:])
        found = sample(record, view.image, kept_boxes, classes[kept])
        return found if self.pixels is None else self.pixels.add(found, view.planes, kept)


class InferenceMapper:
    """Prepare an image for inference: no annotations, nothing random."""

    def __init__(self, augmentation: Augmentation, channels: str = "RGB") -> None:
        self.augmentation = augmentation
        self.reader = ImageReader(channels)

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Map one record to `image`, `height`, `width`, `image_id`, `file_name`."""
        view = ViewInput(self.reader(record), np.zeros((0, 4)), np.random.default_rng(0))
        self.augmentation(view)
        return described(record, view.image)


def clip(boxes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Clip xyxy boxes to the frame.

    Returns:
        The boxes of which something is left, and the boolean mask of which these are.
    """
    limits = np.array([width, height, width, height], dtype=boxes.dtype)
    clipped = np.clip(boxes, 0, limits)
    kept = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    return clipped[kept], kept


def described(record: dict[str, Any], image: Tensor) -> dict[str, Any]:
    """What every sample says about its image, with a copy of the pixels that keeps them channels last in memory."""
    about = {key: record[key] for key in ("height", "width", "image_id", "file_name")}
    copy = image.permute(1, 2, 0).clone(memory_format=torch.contiguous_format).permute(2, 0, 1)
    return {"image": copy, **about}


def sample(record: dict[str, Any], image: Tensor, boxes: np.ndarray, classes: np.ndarray) -> dict[str, Any]:
    """A training sample from the view's pixels, boxes and classes."""
    instances = Instances((image.shape[1], image.shape[2]))
    instances.gt_boxes = Boxes(torch.from_numpy(boxes.astype(np.float32)))
    instances.gt_classes = torch.from_numpy(classes.astype(np.int64))
    return {**described(record, image), "instances": instances}
