"""AP and recall of boxes whatever their class, in percent: how well "objects" are found (DETReg, Table 7).

Every detection is given one class, and the classes of the ground truth are ignored (`useCats = 0` of pycocotools, which
alone would sort equal scores by class). The caps are 1, 10 and 100 detections an image, and AP uses the last. ``AR10``
is what papers print as R@10: recall averaged over IoU 0.50 to 0.95. Crowds stay ignored. Scores any detector, and raw
proposals that are handed in as detections.

A detector that was pretrained on one class has an objectness, the score of that class; its other outputs mean nothing,
and are left out by ``only_class``. That is of what the detector gave: one that gives its best pairs of query and class
may have left out a query for another's second class. A recipe of an evaluation that sets ``detector.only_class`` has
the detector itself rank its queries by that class, which is how the authors scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from repro.evaluation import coco_box
from repro.evaluation._boxes import BoxEvaluator, Detections


class Evaluator(BoxEvaluator):
    """Scores boxes without their classes."""

    def __init__(
        self,
        annotation_file: str | Path,
        category_ids: Sequence[int],
        max_detections: Sequence[int] = (1, 10, 100),
        only_class: int | None = None,
        clamp: bool = False,
    ) -> None:
        """Set up.

        Args:
            annotation_file: see `BoxEvaluator`.
            category_ids: see `BoxEvaluator`.
            max_detections: caps on detections an image; AP uses the last one.
            only_class: contiguous class of the detections that count; None counts all.
            clamp: cut off what lies left of or above the image, but not right of or below it, as the authors do.
        """
        super().__init__(annotation_file, category_ids)
        self.max_detections = list(max_detections)
        self.only_class, self.clamp = only_class, clamp
        self.engine = coco_box.installed()[0]

    def score(self, detections: Detections) -> dict[str, float]:
        """``AP``, ``AP50``, ``AP75``, and ``AR1``, ``AR10``, ``AR100`` (for other caps, these)."""
        if self.only_class is not None:
            wanted = self.category_ids[self.only_class]
            detections = [detection for detection in detections if detection["category_id"] == wanted]
        detections = [{**detection, "category_id": self.category_ids[0]} for detection in detections]
        if self.clamp:
            detections = [{**detection, "bbox": clamped(detection["bbox"])} for detection in detections]
        numbers = coco_box.score(
            self.annotation_file,
            detections,
            max_detections=self.max_detections,
            class_agnostic=True,
            engine=self.engine,
        )
        return {key: numbers[key] for key in ("AP", "AP50", "AP75", *(f"AR{cap}" for cap in self.max_detections))}


def clamped(bbox_xywh_abs: Sequence[float]) -> list[float]:
    """The part of a box that is not left of or above the image.

    >>> clamped([-3.0, 5.0, 10.0, 10.0])
    [0.0, 5.0, 7.0, 10.0]
    """
    x, y, width, height = bbox_xywh_abs
    left, top = max(x, 0.0), max(y, 0.0)
    return [left, top, max(x + width, 0.0) - left, max(y + height, 0.0) - top]
