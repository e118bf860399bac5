"""The three engines against each other on masks, and the evaluator against a case worked by hand."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from pycocotools import mask as coco_mask

from repro.errors import DataError
from repro.evaluation import coco_box
from repro.evaluation import coco_mask as metric

from .conftest import pycocotools, random_detections, random_truth

SIDE = 640


def segmented(entries, rng):
    """The same annotations or detections with an ellipse-like mask in each box, coarse so that this stays quick."""
    for entry in entries:
        x, y, w, h = (round(value) for value in entry["bbox"])
        octagon = [(0.3, 0), (0.7, 0), (1, 0.3), (1, rng.uniform(0.4, 0.9)), (0.7, 1), (0.3, 1), (0, 0.7), (0, 0.3)]
        polygon = [value for px, py in octagon for value in (x + px * max(w, 3), y + py * max(h, 3))]
        coded = coco_mask.merge(coco_mask.frPyObjects([polygon], SIDE, SIDE))
        entry["segmentation"] = {"size": coded["size"], "counts": coded["counts"].decode()}
        entry["area"] = float(coco_mask.area(coded))
    return entries


@pytest.mark.parametrize("engine", list(coco_box.ENGINES))
def test_every_engine_gives_pycocotools_numbers(engine, truth_file):
    rng = np.random.default_rng(3)
    truth = random_truth(rng, images=12)
    segmented(truth["annotations"], rng)
    path = truth_file(truth)
    detections = [
        {key: value for key, value in entry.items() if key not in ("bbox", "area")}
        for entry in segmented(random_detections(rng, truth), rng)
    ]
    expected = pycocotools(path, detections, kind="segm")
    precision, recall = coco_box.arrays(path, detections, (1, 10, 100), False, engine, "segm")
    np.testing.assert_allclose(precision, expected.eval["precision"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(recall, expected.eval["recall"], rtol=0, atol=1e-12)
    ours = coco_box.score(path, detections, engine=engine, kind="segm")
    np.testing.assert_allclose(np.nan_to_num(np.array(list(ours.values())) / 100, nan=-1), expected.stats, atol=1e-12)
    assert 5 < ours["AP"] < 95


def truth_of_one(mask):
    """One image of 40×60 with one object of category 7."""
    coded = coco_mask.encode(np.asfortranarray(mask))
    box = coco_mask.toBbox(coded).tolist()
    entry = {"id": 1, "image_id": 5, "category_id": 7, "bbox": box, "area": int(mask.sum()), "iscrowd": 0}
    entry["segmentation"] = {"size": coded["size"], "counts": coded["counts"].decode()}
    return {
        "images": [{"id": 5, "height": 40, "width": 60}],
        "annotations": [entry],
        "categories": [{"id": 3, "name": "a"}, {"id": 7, "name": "b"}],
    }


def found(mask, box=(10.0, 10, 30, 30)):
    instances = Instances((40, 60), pred_boxes=Boxes(torch.tensor([box])), scores=torch.tensor([0.9]))
    instances.pred_classes = torch.tensor([1])
    instances.pred_masks = torch.from_numpy(mask[None].astype(bool))
    return [{"instances": instances}]


def test_the_mask_counts_and_not_the_box(truth_file):
    """20×20 pixels, found but for four columns: IoU 0.8, which is a hit up to 0.8 (seven of ten thresholds)."""
    whole = np.zeros((40, 60), np.uint8)
    whole[10:30, 10:30] = 1
    part = whole.copy()
    part[:, 26:] = 0
    evaluator = metric.Evaluator(truth_file(truth_of_one(whole)), category_ids=[3, 7])
    evaluator.process([{"image_id": 5}], found(part, box=(0.0, 0, 5, 5)))
    assert evaluator.detections[0]["bbox"] == [0, 0, 5, 5]
    numbers = evaluator.evaluate()["coco_mask"]
    assert numbers["AP"] == pytest.approx(70) and numbers["AP50"] == pytest.approx(100)
    assert numbers["APs"] == pytest.approx(70)  # 400 pixels


def test_no_detections_no_points(truth_file):
    evaluator = metric.Evaluator(truth_file(truth_of_one(np.ones((40, 60), np.uint8))), category_ids=[3, 7])
    assert evaluator.evaluate()["coco_mask"]["AP"] == 0


def test_detectors_of_boxes_are_told_so(truth_file):
    evaluator = metric.Evaluator(truth_file(truth_of_one(np.ones((40, 60), np.uint8))), category_ids=[3, 7])
    output = found(np.ones((40, 60), np.uint8))
    output[0]["instances"].remove("pred_masks")
    with pytest.raises(DataError, match="gives none"):
        evaluator.process([{"image_id": 5}], output)
    with pytest.raises(DataError, match="detection 0 has no segmentation"):
        evaluator.score_results([{"image_id": 5, "category_id": 7, "bbox": [0, 0, 1, 1], "score": 1.0}], "here")
