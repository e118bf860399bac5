"""COCO box AP and AR, in percent (Lin et al. 2014; the protocol is that of pycocotools).

Three libraries compute the same arrays: hotcoco (Rust, a hundred times faster than the original), faster-coco-eval
(C++), pycocotools. The first that is installed is used and its name goes into the record; tests hold them equal. The
twelve numbers are read off the precision and recall arrays here, so they do not depend on a library's printing.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import itertools
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.evaluation.evaluator import DatasetEvaluator
from detectron2.utils import comm

from repro.errors import DataError, InstallError, collect, did_you_mean

ENGINES = {
    "hotcoco": ("hotcoco", "hotcoco"),
    "faster-coco-eval": ("faster_coco_eval", "faster_coco_eval"),
    "pycocotools": ("pycocotools.coco", "pycocotools.cocoeval"),
}
"""Name to the modules of its ``COCO`` and ``COCOeval``, fastest first."""


class Evaluator(DatasetEvaluator):
    """Collects a detector's boxes over the test set, from all processes, and scores them."""

    def __init__(
        self,
        annotation_file: str | Path,
        category_ids: Sequence[int],
        max_detections: Sequence[int] = (1, 10, 100),
        class_agnostic: bool = False,
    ) -> None:
        """Set up.

        Args:
            annotation_file: ground truth, COCO JSON.
            category_ids: the data set's category id for each contiguous class that the detector knows.
            max_detections: caps on detections an image; AP uses the last one.
            class_agnostic: ignore the classes of detections and ground truth (proposal quality, DETReg Table 7).
        """
        self.annotation_file = Path(annotation_file)
        self.category_ids = list(category_ids)
        self.max_detections = list(max_detections)
        self.class_agnostic = class_agnostic
        self.engine = installed()[0]
        self.reset()

    def reset(self) -> None:
        """Forget all detections."""
        self.detections: list[dict[str, Any]] = []

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Take the detections of a batch: boxes are xyxy in pixels of the original image."""
        for sample, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            boxes_xyxy_abs = instances.pred_boxes.tensor.double().numpy()
            boxes_xywh_abs = np.concatenate(
                [boxes_xyxy_abs[:, :2], boxes_xyxy_abs[:, 2:] - boxes_xyxy_abs[:, :2]], axis=1
            )
            scores, classes = instances.scores.double().tolist(), instances.pred_classes.tolist()
            self.detections += [
                {"image_id": sample["image_id"], "category_id": self.category_ids[label], "bbox": box, "score": score}
                for box, score, label in zip(boxes_xywh_abs.tolist(), scores, classes, strict=True)
            ]

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Metrics on the first process, where `detections` then holds all processes' boxes; nothing elsewhere."""
        gathered = comm.gather(self.detections)
        if not comm.is_main_process():
            return {}
        # Images are dealt out to processes in turn; sorted, the file is the same for any number of them.
        self.detections = sorted(itertools.chain(*gathered), key=lambda detection: detection["image_id"])
        return {"coco_box": self._score(self.detections)}

    def score_results(self, detections: Any, where: str) -> dict[str, float]:
        """Metrics of COCO results that came from elsewhere.

        Raises:
            DataError: they do not belong to this data set; says how.
        """
        collect(check(detections, self.annotation_file), where, DataError)
        return self._score(detections)

    def _score(self, detections: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        return score(
            self.annotation_file,
            detections,
            max_detections=self.max_detections,
            class_agnostic=self.class_agnostic,
            engine=self.engine,
        )


def installed() -> list[str]:
    """Names of the engines that can be imported, fastest first.

    Raises:
        InstallError: there is none.
    """
    names = [name for name, modules in ENGINES.items() if importlib.util.find_spec(modules[0].partition(".")[0])]
    if not names:
        raise InstallError(
            "Scoring COCO boxes needs one of hotcoco, faster-coco-eval and pycocotools. Repair: make install"
        )
    return names


def score(
    annotation_file: Path,
    detections: Sequence[Mapping[str, Any]],
    *,
    max_detections: Sequence[int] = (1, 10, 100),
    class_agnostic: bool = False,
    engine: str | None = None,
) -> dict[str, float]:
    """The twelve COCO numbers in percent; NaN where there is nothing to find (no box of that size, say).

    Args:
        annotation_file: ground truth, COCO JSON.
        detections: COCO results: ``image_id``, ``category_id``, ``bbox`` (xywh), ``score``.
        max_detections: see `Evaluator`.
        class_agnostic: see `Evaluator`.
        engine: one of `ENGINES`; the first installed one by default.
    """
    precision, recall = arrays(annotation_file, detections, max_detections, class_agnostic, engine or installed()[0])
    return summary(precision, recall, max_detections)


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


def arrays(
    annotation_file: Path,
    detections: Sequence[Mapping[str, Any]],
    max_detections: Sequence[int],
    class_agnostic: bool,
    engine: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Precision [IoU, recall, class, area, cap] and recall [IoU, class, area, cap] in 0..1, -1 for nothing to find.

    Raises:
        DataError: the ground truth is missing.
    """
    if not Path(annotation_file).is_file():
        raise DataError(f"There are no annotations at {annotation_file}")
    coco_module, eval_module = (importlib.import_module(name) for name in ENGINES[engine])
    evaluator_class = getattr(eval_module, "COCOeval_faster", None) or eval_module.COCOeval
    with contextlib.redirect_stdout(io.StringIO()):  # all three report on stdout
        truth = coco_module.COCO(str(annotation_file))
        evaluator = evaluator_class(truth, _results(coco_module.COCO, truth, detections, annotation_file), "bbox")
        evaluator.params.maxDets = list(max_detections)
        evaluator.params.useCats = 0 if class_agnostic else 1
        evaluator.evaluate()
        evaluator.accumulate()
    return np.asarray(evaluator.eval["precision"]), np.asarray(evaluator.eval["recall"])


def _results(coco: Any, truth: Any, detections: Sequence[Mapping[str, Any]], annotation_file: Path) -> Any:
    if detections:
        return truth.loadRes([dict(detection) for detection in detections])
    empty = {**json.loads(Path(annotation_file).read_text()), "annotations": []}  # loadRes([]) fails
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(empty, file)
        file.flush()
        return coco(file.name)


def summary(precision: np.ndarray, recall: np.ndarray, max_detections: Sequence[int]) -> dict[str, float]:
    """The twelve numbers from the arrays: IoU 0.50..0.95, areas all/small/medium/large, caps as given."""
    numbers = {
        "AP": precision[:, :, :, 0, -1],
        "AP50": precision[0, :, :, 0, -1],
        "AP75": precision[5, :, :, 0, -1],
        **{f"AP{size}": precision[:, :, :, area, -1] for area, size in enumerate("sml", start=1)},
        **{f"AR{cap}": recall[:, :, 0, index] for index, cap in enumerate(max_detections)},
        **{f"AR{size}": recall[:, :, area, -1] for area, size in enumerate("sml", start=1)},
    }
    return {name: _percent(values) for name, values in numbers.items()}


def _percent(values: np.ndarray) -> float:
    found = values[values > -1]
    return float(np.mean(found)) * 100 if found.size else math.nan
