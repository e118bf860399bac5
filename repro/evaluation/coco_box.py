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
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repro.errors import DataError, InstallError
from repro.evaluation._boxes import BoxEvaluator, Detections

ENGINES = {
    "hotcoco": ("hotcoco", "hotcoco"),
    "faster-coco-eval": ("faster_coco_eval", "faster_coco_eval"),
    "pycocotools": ("pycocotools.coco", "pycocotools.cocoeval"),
}
"""Name to the modules of its ``COCO`` and ``COCOeval``, fastest first."""


class Evaluator(BoxEvaluator):
    """Scores boxes as COCO does."""

    def __init__(
        self,
        annotation_file: str | Path,
        category_ids: Sequence[int],
        max_detections: Sequence[int] = (1, 10, 100),
        class_agnostic: bool = False,
    ) -> None:
        """Set up.

        Args:
            annotation_file: see `BoxEvaluator`.
            category_ids: see `BoxEvaluator`.
            max_detections: caps on detections an image; AP uses the last one.
            class_agnostic: ignore the classes of detections and ground truth; `repro.evaluation.coco_class_agnostic`
                is the metric that does so.
        """
        super().__init__(annotation_file, category_ids)
        self.max_detections = list(max_detections)
        self.class_agnostic = class_agnostic
        self.engine = installed()[0]

    def score(self, detections: Detections) -> dict[str, float]:
        """The twelve COCO numbers."""
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
    detections: Detections,
    *,
    max_detections: Sequence[int] = (1, 10, 100),
    class_agnostic: bool = False,
    engine: str | None = None,
    kind: str = "bbox",
) -> dict[str, float]:
    """The twelve COCO numbers in percent; NaN where there is nothing to find (no box of that size, say).

    Args:
        annotation_file: ground truth, COCO JSON.
        detections: COCO results: ``image_id``, ``category_id``, ``bbox`` (xywh), ``score``.
        max_detections: see `Evaluator`.
        class_agnostic: see `Evaluator`.
        engine: one of `ENGINES`; the first installed one by default.
        kind: ``bbox`` compares boxes, ``segm`` masks, which then stand in place of boxes.
    """
    engine = engine or installed()[0]
    precision, recall = arrays(annotation_file, detections, max_detections, class_agnostic, engine, kind)
    return summary(precision, recall, max_detections)


def arrays(
    annotation_file: Path,
    detections: Detections,
    max_detections: Sequence[int],
    class_agnostic: bool,
    engine: str,
    kind: str = "bbox",
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
        evaluator = evaluator_class(truth, _results(coco_module.COCO, truth, detections, annotation_file), kind)
        evaluator.params.maxDets = list(max_detections)
        evaluator.params.useCats = 0 if class_agnostic else 1
        evaluator.evaluate()
        evaluator.accumulate()
    return np.asarray(evaluator.eval["precision"]), np.asarray(evaluator.eval["recall"])


def _results(coco: Any, truth: Any, detections: Detections, annotation_file: Path) -> Any:
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
