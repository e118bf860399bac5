"""Against pycocotools with every category made one, as DETReg's code does it."""

import json

import numpy as np
import pytest

from repro.evaluation import coco_class_agnostic

from .conftest import CATEGORIES, pycocotools, random_detections, random_truth


def merged(entries):
    return [{**entry, "category_id": 1} for entry in entries]


def test_it_is_what_pycocotools_gives_when_all_have_one_category(truth_file, tmp_path):
    rng = np.random.default_rng(11)
    truth = random_truth(rng)
    detections = random_detections(rng, truth)
    ours = coco_class_agnostic.Evaluator(truth_file(truth), CATEGORIES).score(detections)
    one = tmp_path / "one.json"
    one.write_text(
        json.dumps({**truth, "annotations": merged(truth["annotations"]), "categories": [{"id": 1, "name": "object"}]})
    )
    stats = pycocotools(one, merged(detections), useCats=0).stats
    expected = dict(zip(("AP", "AP50", "AP75", "AR1", "AR10", "AR100"), stats[[0, 1, 2, 6, 7, 8]], strict=True))
    assert ours == pytest.approx({key: 100 * value for key, value in expected.items()}, abs=1e-9)
    assert ours["AR1"] < ours["AR10"] <= ours["AR100"]


def test_classes_do_not_matter_unless_one_is_the_objectness(truth_file):
    rng = np.random.default_rng(3)
    truth = random_truth(rng)
    detections = random_detections(rng, truth)
    shuffled = [{**entry, "category_id": int(rng.choice(CATEGORIES))} for entry in detections]
    path = truth_file(truth)
    plain = coco_class_agnostic.Evaluator(path, CATEGORIES)
    assert plain.score(shuffled) == plain.score(detections)
    of_one = coco_class_agnostic.Evaluator(path, CATEGORIES, only_class=1)
    kept = [entry for entry in detections if entry["category_id"] == CATEGORIES[1]]
    assert of_one.score(detections) == plain.score(kept) != plain.score(detections)


def test_a_case_worked_by_hand(truth_file):
    """Two objects; the first of ten equal detections on one of them is right, the other object is found at rank 11."""
    truth = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 7, "bbox": [50, 50, 10, 10], "area": 100, "iscrowd": 0},
        ],
        "categories": [{"id": 3, "name": "a"}, {"id": 7, "name": "b"}],
    }
    detections = [
        {"image_id": 1, "category_id": 7, "bbox": [0, 0, 10, 10], "score": 1 - 0.05 * rank} for rank in range(10)
    ]
    detections.append({"image_id": 1, "category_id": 3, "bbox": [50, 50, 10, 10], "score": 0.1})
    found = coco_class_agnostic.Evaluator(truth_file(truth), [3, 7]).score(detections)
    assert (found["AR1"], found["AR10"], found["AR100"]) == pytest.approx((50, 50, 100))
    assert found["AP"] == pytest.approx(100 * (51 + 50 * 2 / 11) / 101)  # precision 1 up to recall 0.5, then 2/11


def test_clamped_boxes_lose_what_is_left_of_and_above_the_image_only(truth_file):
    """By hand: an IoU of 10·10 / 10·16 = 0.625 becomes 1 on one side of the image, and stays so on the other."""
    truth = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 3, "bbox": [90, 90, 10, 10], "area": 100, "iscrowd": 0},
        ],
        "categories": [{"id": 3, "name": "a"}],
    }
    detections = [
        {"image_id": 1, "category_id": 3, "bbox": [-6, 0, 16, 10], "score": 0.9},
        {"image_id": 1, "category_id": 3, "bbox": [90, 90, 10, 16], "score": 0.8},
    ]
    path = truth_file(truth)
    plain = coco_class_agnostic.Evaluator(path, [3]).score(detections)
    clamped = coco_class_agnostic.Evaluator(path, [3], clamp=True).score(detections)
    assert (plain["AR10"], clamped["AR10"]) == pytest.approx((30, 65))  # IoU 0.5, 0.55, 0.6 of ten thresholds
    assert (plain["AR1"], clamped["AR1"]) == pytest.approx((15, 50))
