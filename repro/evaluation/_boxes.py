"""What all box metrics share: collecting detections over the test set from all processes, and judging foreign ones.

A metric is a subclass that says how a list of detections is scored. (The underscore keeps this file from counting as a
metric.)
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.evaluation.evaluator import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm

from repro.errors import DataError, collect, did_you_mean

Detections = Sequence[Mapping[str, Any]]
"""COCO results: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height in pixels), ``score``."""


class BoxEvaluator(DatasetEvaluator):
    """Collects a detector's boxes, and scores them by `score`, which a subclass has.

    Attributes:
        engine: which implementation computes the numbers; it goes into the record.
        detections: on the first process, after `evaluate`, those of all processes by image.
    """

    engine = "numpy"

    def __init__(self, annotation_file: str | Path, category_ids: Sequence[int]) -> None:
        """Set up.

        Args:
            annotation_file: ground truth, COCO JSON.
            category_ids: the data set's category id for each contiguous class that the detector knows.
        """
        self.annotation_file = Path(annotation_file)
        self.category_ids = list(category_ids)
        self.reset()

    def score(self, detections: Detections) -> dict[str, float]:
        """Metrics in percent; NaN where there is nothing to find."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget all detections."""
        self.detections: list[dict[str, Any]] = []

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Take the detections of a batch: boxes are xyxy in pixels of the original image."""
        for sample, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            self.detections += self.described(instances, sample["image_id"])

    def described(self, instances: Instances, image_id: int) -> list[dict[str, Any]]:
        """Detections of an image as COCO results."""
        boxes_xyxy_abs = instances.pred_boxes.tensor.double().numpy()
        boxes_xywh_abs = np.concatenate([boxes_xyxy_abs[:, :2], boxes_xyxy_abs[:, 2:] - boxes_xyxy_abs[:, :2]], axis=1)
        scores, classes = instances.scores.double().tolist(), instances.pred_classes.tolist()
        return [
            {"image_id": image_id, "category_id": self.category_ids[label], "bbox": box, "score": score}
            for box, score, label in zip(boxes_xywh_abs.tolist(), scores, classes, strict=True)
        ]

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Metrics on the first process under the metric's name; nothing elsewhere."""
        gathered = comm.gather(self.detections)
        if not comm.is_main_process():
            return {}
        # Images are dealt out to processes in turn; sorted, the file is the same for any number of them.
        self.detections = sorted(itertools.chain(*gathered), key=lambda detection: detection["image_id"])
        return {type(self).__module__.rpartition(".")[2]: self.score(self.detections)}

    def score_results(self, detections: Any, where: str) -> dict[str, float]:
        """Metrics of COCO results that came from elsewhere.

        Raises:
            DataError: they do not belong to this data set; says how.
        """
        collect(check(detections, self.annotation_file), where, DataError)
        return self.score(detections)


def check(detections: Any, annotation_file: Path) -> list[str]:
    """Faults of COCO results that came from elsewhere: shape, unknown images and categories; at most one a kind."""
    if not isinstance(detections, list):
        return [f"a list of detections was expected, not a {type(detections).__name__}"]
    truth = json.loads(Path(annotation_file).read_text())
    images = {image["id"] for image in truth["images"]}
    categories = {category["id"] for category in truth["categories"]}
    faults: dict[str, str] = {}
    for index, detection in enumerate(detections):
        where = f"detection {index}"
        missing = [key for key in ("image_id", "category_id", "bbox", "score") if key not in detection]
        if missing:
            faults.setdefault("keys", f"{where} has no {', '.join(missing)}")
            continue
        if detection["image_id"] not in images:
            faults.setdefault("image", f"{where}: image {detection['image_id']} is not in {annotation_file}")
        if detection["category_id"] not in categories:
            known = did_you_mean(str(detection["category_id"]), map(str, categories))
            faults.setdefault(
                "category", f"{where}: category {detection['category_id']} is not in the data set. {known}"
            )
        box = detection["bbox"]
        if not (isinstance(box, list) and len(box) == 4 and all(math.isfinite(side) for side in box)):
            faults.setdefault("bbox", f"{where}: bbox is {box}, not four finite numbers x, y, width, height")
        if not math.isfinite(detection["score"]):
            faults.setdefault("score", f"{where}: score is {detection['score']}")
    return list(faults.values())
