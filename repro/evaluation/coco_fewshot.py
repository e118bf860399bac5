"""COCO box AP over the novel and over the base classes of a few-shot split, in percent (Wang et al. 2020, "TFA").

The mean of COCO's per-class AP over a subset of the classes; detections of all classes compete in the cap of 100 an
image, and *all* images of the test set count, those without a novel object too. (Leaving those out removes false alarms
and raises the score; public ports of DETReg do so.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from repro.errors import DataError, collect, did_you_mean
from repro.evaluation import coco_box
from repro.evaluation._boxes import BoxEvaluator, Detections

KEYS = ("AP", "AP50", "AP75")


class Evaluator(BoxEvaluator):
    """Scores boxes as COCO does, novel and base classes apart."""

    def __init__(
        self,
        annotation_file: str | Path,
        category_ids: Sequence[int],
        novel: Sequence[str],
        max_detections: Sequence[int] = (1, 10, 100),
    ) -> None:
        """Set up.

        Args:
            annotation_file: see `BoxEvaluator`.
            category_ids: see `BoxEvaluator`.
            novel: names of the novel classes; the others are base classes.
            max_detections: caps on detections an image; AP uses the last one.
        """
        super().__init__(annotation_file, category_ids)
        self.novel = list(novel)
        self.max_detections = list(max_detections)
        self.engine = coco_box.installed()[0]

    def score(self, detections: Detections) -> dict[str, float]:
        """``nAP``, ``nAP50``, ``nAP75`` of the novel classes, the same with ``b`` of the base classes, and of all.

        Raises:
            DataError: a novel class is not in the ground truth.
        """
        precision, recall = coco_box.arrays(self.annotation_file, detections, self.max_detections, False, self.engine)
        novel = self._is_novel()
        numbers: dict[str, float] = {}
        for prefix, chosen in (("n", novel), ("b", ~novel), ("", np.ones_like(novel))):
            part = coco_box.summary(precision[:, :, chosen], recall[:, chosen], self.max_detections)
            numbers |= {f"{prefix}{key}": part[key] for key in KEYS}
        return numbers

    def _is_novel(self) -> np.ndarray:
        """Boolean [classes], in the order of the arrays: by ascending category id."""
        categories = json.loads(self.annotation_file.read_text())["categories"]
        names = [category["name"] for category in sorted(categories, key=lambda category: category["id"])]
        unknown = [name for name in self.novel if name not in names]
        collect([f"there is no class {name}. {did_you_mean(name, names)}" for name in unknown], "novel", DataError)
        return np.isin(names, self.novel)
