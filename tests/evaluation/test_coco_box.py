"""The three engines against each other on awkward detections, and the evaluator against a case worked by hand."""

import math

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from repro.errors import DataError
from repro.evaluation import coco_box
from repro.evaluation._boxes import check

from .conftest import pycocotools, random_detections, random_truth


@pytest.mark.parametrize("engine", list(coco_box.ENGINES))
@pytest.mark.parametrize("class_agnostic", [False, True])
def test_every_engine_gives_pycocotools_numbers(engine, class_agnostic, truth_file):
    rng = np.random.default_rng(5)
    truth = random_truth(rng)
    assert sum(a["iscrowd"] for a in truth["annotations"]) > 3
    path, detections = truth_file(truth), random_detections(rng, truth)
    expected = pycocotools(path, detections, useCats=int(not class_agnostic))
    precision, recall = coco_box.arrays(path, detections, (1, 10, 100), class_agnostic, engine)
    np.testing.assert_allclose(precision, expected.eval["precision"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(recall, expected.eval["recall"], rtol=0, atol=1e-12)
    ours = np.array(list(coco_box.summary(precision, recall, (1, 10, 100)).values()))
    np.testing.assert_allclose(np.nan_to_num(ours / 100, nan=-1), expected.stats, rtol=0, atol=1e-12)
    assert 5 < ours[0] < 95


@pytest.mark.parametrize("engine", list(coco_box.ENGINES))
def test_no_detections_score_zero_and_sizes_without_boxes_are_nan(engine, truth_file):
    truth = random_truth(np.random.default_rng(0), images=3)
    for annotation in truth["annotations"]:
        annotation.update(bbox=[1, 1, 200, 200], area=40000, iscrowd=0)
    metrics = coco_box.score(truth_file(truth), [], engine=engine)
    assert metrics["AP"] == 0
    assert metrics["AR100"] == 0
    assert math.isnan(metrics["APs"])


def instances(boxes, scores, classes):
    result = Instances((100, 100))
    result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    result.scores = torch.tensor(scores)
    result.pred_classes = torch.tensor(classes, dtype=torch.int64)
    return {"instances": result}


def test_evaluator_maps_classes_and_boxes_by_a_case_worked_by_hand(truth_file):
    # Two objects of category 7. One is found exactly (first), one is missed; a false alarm comes second.
    # Precision is 1 up to recall 0.5 and 0 above: 51 of the 101 recall points, so AP = 51/101.
    boxes = [[10, 10, 30, 30], [50, 50, 40, 40]]
    truth = {
        "images": [{"id": 4, "width": 100, "height": 100}, {"id": 5, "width": 100, "height": 100}],
        "annotations": [
            {"id": i + 1, "image_id": 4 + i, "category_id": 7, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, box in enumerate(boxes)
        ],
        "categories": [{"id": 3, "name": "a"}, {"id": 7, "name": "b"}],
    }
    evaluator = coco_box.Evaluator(truth_file(truth), category_ids=[3, 7])
    inputs = [{"image_id": 5}, {"image_id": 4}]
    outputs = [instances([[0, 0, 9, 9]], [0.5], [1]), instances([[10, 10, 40, 40]], [0.9], [1])]
    evaluator.process(inputs, outputs)
    metrics = evaluator.evaluate()["coco_box"]
    assert metrics["AP"] == pytest.approx(100 * 51 / 101)
    assert metrics["AR1"] == pytest.approx(50)
    assert [detection["image_id"] for detection in evaluator.detections] == [4, 5]
    assert evaluator.detections[0] == {
        "image_id": 4,
        "category_id": 7,
        "bbox": [10, 10, 30, 30],
        "score": pytest.approx(0.9),
    }
    evaluator.reset()
    assert evaluator.detections == []


def test_the_fastest_installed_engine_is_taken(monkeypatch):
    assert coco_box.installed()[0] == "hotcoco"
    real = coco_box.importlib.util.find_spec
    monkeypatch.setattr(coco_box.importlib.util, "find_spec", lambda name: None if name == "hotcoco" else real(name))
    assert coco_box.installed()[0] == "faster-coco-eval"


def test_results_from_elsewhere_are_checked_with_all_faults(truth_file):
    path = truth_file(random_truth(np.random.default_rng(1)))
    good = {"image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}
    assert check([good], path) == []
    bad = [{**good, "image_id": 999}, {**good, "category_id": 4}, {**good, "bbox": [1, 2, 3]}, {"image_id": 0}]
    faults = check(bad, path)
    assert len(faults) == 4
    assert "image 999" in faults[0]
    assert "category 4" in faults[1]
    assert "has no category_id, bbox, score" in faults[3]


def test_missing_annotations_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.json"):
        coco_box.score(tmp_path / "nowhere.json", [])
