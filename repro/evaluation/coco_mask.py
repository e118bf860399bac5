"""COCO instance segmentation AP and AR, in percent: `coco_box` with masks in place of boxes.

A detection's area, by which AP is split into small, medium and large, is that of its mask. Masks are kept as COCO's run
lengths, of a hundredth of their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances
from pycocotools import mask as coco_mask

from repro.errors import DataError
from repro.evaluation import coco_box
from repro.evaluation._boxes import BoxEvaluator, Detections


class Evaluator(BoxEvaluator):
    """Scores masks as COCO does."""

    def __init__(
        self,
        annotation_file: str | Path,
        category_ids: Sequence[int],
        max_detections: Sequence[int] = (1, 10, 100),
    ) -> None:
        """Set up.

        Args:
            annotation_file: see `BoxEvaluator`.
            category_ids: see `BoxEvaluator`.
            max_detections: caps on detections an image; AP uses the last one.
        """
        super().__init__(annotation_file, category_ids)
        self.max_detections = list(max_detections)
        self.engine = coco_box.installed()[0]

    def described(self, instances: Instances, image_id: int) -> list[dict[str, Any]]:
        """Detections of an image as COCO results, which have boxes too.

        Raises:
            DataError: the detector gives no masks.
        """
        if not instances.has("pred_masks"):
            raise DataError("coco_mask scores masks, and the detector gives none")
        entries = super().described(instances, image_id)
        masks = instances.pred_masks.numpy().astype(np.uint8)
        for entry, mask in zip(entries, masks, strict=True):
            coded = coco_mask.encode(np.asfortranarray(mask))
            entry["segmentation"] = {"size": coded["size"], "counts": coded["counts"].decode("ascii")}
        return entries

    def score(self, detections: Detections) -> dict[str, float]:
        """The twelve COCO numbers.

        Raises:
            DataError: a detection has no mask.
        """
        lacking = [number for number, entry in enumerate(detections) if "segmentation" not in entry]
        if lacking:
            raise DataError(f"detection {lacking[0]} has no segmentation ({len(lacking)} of {len(detections)})")
        masks = [{key: value for key, value in entry.items() if key != "bbox"} for entry in detections]
        return coco_box.score(
            self.annotation_file, masks, max_detections=self.max_detections, engine=self.engine, kind="segm"
        )
