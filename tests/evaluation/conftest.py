"""Awkward ground truth and detections, which several metrics are tried on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CATEGORIES = [3, 7, 90]  # 90 has no ground truth


def random_truth(rng: np.random.Generator, images: int = 30) -> dict[str, Any]:
    """Up to six objects an image, none in some; some are crowds."""
    annotations: list[dict[str, Any]] = []
    for image in range(images):
        for _ in range(rng.integers(0, 7)):
            width, height = rng.uniform(4, 300, 2).round(1).tolist()
            x, y = rng.uniform(0, 300, 2).round(1).tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(rng.choice(CATEGORIES[:2])),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": int(rng.random() < 0.15),
                }
            )
    return {
        "images": [{"id": image, "width": 640, "height": 640} for image in range(images)],
        "annotations": annotations,
        "categories": [{"id": id_, "name": f"c{id_}"} for id_ in CATEGORIES],
    }


def random_detections(rng: np.random.Generator, truth: dict[str, Any]) -> list[dict[str, Any]]:
    """Jittered ground truth, duplicates and noise, with scores on a coarse grid so that many are equal."""
    detections = []
    for annotation in truth["annotations"]:
        for _ in range(rng.integers(0, 4)):
            box = (np.array(annotation["bbox"]) * rng.uniform(0.8, 1.2, 4)).tolist()
            wrong = rng.random() < 0.2
            category = int(rng.choice(CATEGORIES)) if wrong else annotation["category_id"]
            detections.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": category,
                    "bbox": box,
                    "score": round(float(rng.random()), 1),
                }
            )
    detections += [  # more than a hundred boxes on one image: the cap counts
        {
            "image_id": 0,
            "category_id": 3,
            "bbox": rng.uniform(1, 200, 4).tolist(),
            "score": round(float(rng.random()), 1),
        }
        for _ in range(150)
    ]
    return detections


def pycocotools(path: Path, detections: list[dict[str, Any]], kind: str = "bbox", **params: Any) -> Any:
    """The original evaluator with some of its parameters set, accumulated and summarised."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(path))
    evaluator = COCOeval(truth, truth.loadRes(copy.deepcopy(detections)), kind)
    for name, value in params.items():
        setattr(evaluator.params, name, value)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator


@pytest.fixture
def truth_file(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    def write(truth: dict[str, Any]) -> Path:
        path = tmp_path / "truth.json"
        path.write_text(json.dumps(truth))
        return path

    return write
