"""What is known of an image pixel by pixel: masks of its objects, and what stands at each pixel (a semantic map).

Both are planes of uint8 that follow the image through the same transforms, by the nearest pixel. In a plane, 0 is what
a transform fills with: no object in a mask, nothing known in a semantic map, whose classes are therefore counted from 1
on the way and from 0 before and after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.structures import BitMasks
from torch import Tensor

from repro.data.datasets.coco import expand, found
from repro.errors import DataError

UNKNOWN = 255
"""Value of pixels in a semantic map of which nothing is known."""


class SemanticMaps:
    """Classes of all pixels of an image, uint8 [H, W], 255 where nothing is known.

    Args:
        folder: of PNG files that are called as the images are; ``$VARIABLES`` in it are expanded. For COCO these are
            the ``stuffthingmaps`` of COCO-stuff (Caesar et al. 2018), 0 … 182. None draws maps from the annotations:
            each object in its class, the smaller in front.
        background: class of pixels that show no object, in drawn maps.
    """

    def __init__(self, folder: str | None = None, background: int = UNKNOWN) -> None:
        self.folder, self.background = folder, background

    def __call__(self, record: Mapping[str, Any]) -> np.ndarray:
        """The map of a record's image.

        Raises:
            DataError: its file is missing, cannot be read, or has another size than the image.
        """
        size = record["height"], record["width"]
        if self.folder is None:
            return self._drawn(record, size)
        file = found(expand(self.folder) / Path(record["file_name"]).with_suffix(".png").name, "semantic map")
        pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.ndim != 2 or pixels.dtype != np.uint8:
            raise DataError(f"image {record['image_id']}: {file} is not a PNG of one channel of 8 bits")
        if pixels.shape != size:
            stated = f"{size[1]}×{size[0]}"
            raise DataError(f"image {record['image_id']}: {file} is {pixels.shape[1]}×{pixels.shape[0]}, not {stated}")
        return pixels

    def _drawn(self, record: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
        drawn = np.full(size, self.background, np.uint8)
        entries = record["annotations"]
        masks = rasterise(record, entries)
        for index in np.argsort(-masks.sum((1, 2), dtype=np.int64), kind="stable"):
            drawn[masks[index] > 0] = entries[index]["category_id"]
        return drawn


class PixelLabels:
    """Masks and semantic maps for `repro.data.mapper.TrainMapper`.

    Args:
        masks: whether objects get ``gt_masks``.
        semantic: where ``sem_seg`` comes from; None leaves it out.
    """

    def __init__(self, masks: bool = True, semantic: SemanticMaps | None = None) -> None:
        self.masks, self.semantic = masks, semantic

    def planes(self, record: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> Tensor:
        """Planes of an image, uint8 [P, H, W]: one for each of these objects of the record, then the semantic map.

        Raises:
            DataError: an object has no segmentation, or see `SemanticMaps`.
        """
        stack = rasterise(record, objects) if self.masks else np.zeros((0, record["height"], record["width"]), np.uint8)
        if self.semantic is not None:
            stack = np.concatenate([stack, self.semantic(record)[None] + np.uint8(1)])  # 255 becomes 0
        return torch.from_numpy(stack)

    def add(self, sample: dict[str, Any], planes: Tensor, kept: np.ndarray) -> dict[str, Any]:
        """Put what became of the planes into a training sample whose objects are those that were ``kept``."""
        if self.masks:
            own = planes[: len(kept)][torch.from_numpy(kept)]
            sample["instances"].gt_masks = BitMasks(own > 0)
        if self.semantic is not None:
            sample["sem_seg"] = (planes[-1] - 1).long()  # 0 becomes 255
        return sample


def rasterise(record: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Masks of annotations in COCO's forms (polygons, run lengths): uint8 [N, H, W] of 0 and 1.

    Raises:
        DataError: an annotation has no segmentation.
    """
    from pycocotools import mask as coco_mask

    height, width = record["height"], record["width"]
    masks = np.zeros((len(entries), height, width), np.uint8)
    for mask, entry in zip(masks, entries, strict=True):
        given = entry.get("segmentation")
        if not given:
            raise DataError(
                f"image {record['image_id']} ({record['file_name']}): an object has no segmentation, and the recipe "
                "asks for masks (data.mapper.pixels)"
            )
        if isinstance(given, list):
            given = coco_mask.merge(coco_mask.frPyObjects(given, height, width))
        elif isinstance(given["counts"], list):
            given = coco_mask.frPyObjects(given, height, width)
        mask[:] = coco_mask.decode(given)
    return masks
