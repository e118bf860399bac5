"""Against pycocotools restricted to the novel classes."""

import math

import numpy as np
import pytest

from repro.errors import DataError
from repro.evaluation import coco_fewshot

from .conftest import CATEGORIES, pycocotools, random_detections, random_truth


@pytest.mark.parametrize(("novel", "ids"), [(["c7"], [7]), (["c3", "c90"], [3, 90])])
def test_novel_base_and_all_are_pycocotools_with_these_categories(truth_file, novel, ids):
    rng = np.random.default_rng(7)
    truth = random_truth(rng)
    detections = random_detections(rng, truth)
    path = truth_file(truth)
    found = coco_fewshot.Evaluator(path, CATEGORIES, novel).score(detections)
    base = [category for category in CATEGORIES if category not in ids]
    for prefix, chosen in (("n", ids), ("b", base), ("", CATEGORIES)):
        stats = pycocotools(path, detections, catIds=chosen).stats
        ours = [found[f"{prefix}{key}"] for key in coco_fewshot.KEYS]
        assert ours == pytest.approx([100 * value for value in stats[:3]], abs=1e-9)
    assert found["nAP"] != pytest.approx(found["bAP"])


def test_false_alarms_on_images_without_a_novel_object_count(truth_file):
    truth = {
        "images": [{"id": image, "width": 100, "height": 100} for image in (1, 2)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0},
            {"id": 2, "image_id": 2, "category_id": 3, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0},
        ],
        "categories": [{"id": 3, "name": "a"}, {"id": 7, "name": "b"}],
    }
    found = [
        {"image_id": image, "category_id": 7, "bbox": [10, 10, 20, 20], "score": score}
        for image, score in ((2, 0.9), (1, 0.5))
    ]
    assert coco_fewshot.Evaluator(truth_file(truth), [3, 7], ["b"]).score(found)["nAP"] == pytest.approx(50)
    assert math.isnan(coco_fewshot.Evaluator(truth_file(truth), [3, 7], []).score(found)["nAP"])


def test_an_unknown_novel_class_gets_the_nearest(truth_file):
    path = truth_file(random_truth(np.random.default_rng(0), images=2))
    with pytest.raises(DataError, match="Did you mean c90"):
        coco_fewshot.Evaluator(path, CATEGORIES, ["c9"]).score([])
