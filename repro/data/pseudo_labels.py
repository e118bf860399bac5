"""Boxes that a detector found in images without labels, in one file, and which of them are taken for labels.

The file is one of `repro.data.image_arrays`, written by a stage of kind ``label`` and read by a training that mixes
labelled and pseudo-labelled images (STAC, Sohn et al. 2020; "Multi-Stage" of Xu et al. 2021, Table 5). It holds all
detections, so that one file serves every threshold:

    boxes            [N, 4] float32, xyxy in pixels of the original image, by image id, best first
    scores           [N] float32
    classes          [N] uint16, contiguous
    offsets, image_ids, header
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from detectron2.structures import BoxMode

from repro.data.image_arrays import ImageArrays
from repro.errors import DataError

FILE = "pseudo_labels.npz"

Choose = Callable[[np.ndarray], np.ndarray]
"""From an image's scores, of which there is at least one, to the mask of the boxes that become labels."""


class Detections(NamedTuple):
    """Of one image: boxes [N, 4] (xyxy), scores [N] and contiguous classes [N]."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


class PseudoLabels(ImageArrays):
    """Reads the file.

    Attributes:
        header: What it was made with: `detector` (the signature of its stage), `dataset`, `images`, `boxes`, `sha256`.

    Raises:
        DataError: The file is missing or is not one of ours.
    """

    FORMAT = 1
    ARRAYS = ("boxes", "scores", "classes", "offsets", "image_ids")
    CONTENT = "pseudo labels"
    STAGE = "label"

    def of(self, image_id: int) -> Detections:
        """What was found in an image.

        Raises:
            DataError: The file has nothing about this image.
        """
        row = self._row(image_id)
        return Detections(*(self._part(name, "offsets", row) for name in Detections._fields))

    def above(self, score: float) -> int:
        """How many boxes score more."""
        return int((self._arrays["scores"] > score).sum())


class Above:
    """Boxes that score more than a threshold: the released code of Soft Teacher (`pseudo_coco.py`), strictly."""

    def __init__(self, threshold: float = 0.9) -> None:
        self.threshold = threshold

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Mask of the boxes that become labels."""
        return scores > self.threshold


class AboveOrBest:
    """Boxes that score no less than a threshold, or than the best one of their image if that is lower: STAC's code."""

    def __init__(self, threshold: float = 0.9) -> None:
        self.threshold = threshold

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Mask of the boxes that become labels."""
        return scores >= min(self.threshold, scores.max())


def labelled(records: Sequence[Mapping[str, Any]], labels: PseudoLabels, choose: Choose) -> list[dict[str, Any]]:
    """The records with what was found as annotations; without the images of which nothing was chosen.

    Raises:
        DataError: The file has nothing about one of the images, or no box of any is chosen.
    """
    kept, best = [], None
    for record in records:
        found = labels.of(record["image_id"])
        if not len(found.scores):
            continue
        best = max(best or 0.0, float(found.scores.max()))
        mask = choose(found.scores)
        if mask.any():
            kept.append({**record, "annotations": _annotations(found, mask)})
    if not kept:
        why = "it has no box at all" if best is None else f"the best box scores {best:.3f}"
        raise DataError(f"{labels.path}: no box of {len(records)} images becomes a label: {why}")
    return kept


def _annotations(found: Detections, mask: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": category, "iscrowd": 0}
        for box, category in zip(found.boxes[mask].tolist(), found.classes[mask].tolist(), strict=True)
    ]
