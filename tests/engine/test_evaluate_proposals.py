"""Raw proposals as detections: a stage of their own, and equal scores that leave the decision to the order."""

from __future__ import annotations

import json

import numpy as np
import pytest

from repro.data import datasets
from repro.data.proposals import Proposals
from repro.engine import evaluate, stage
from repro.engine.evaluate_proposals import detections
from repro.errors import DataError, StageError
from repro.evaluation import coco_box

from .conftest import record_of

PROPOSE = "detreg/propose_coco_val2017_random.py"
EVALUATE = "detreg/evaluate_proposals_coco_val2017.py"


@pytest.fixture
def proposed(bench):
    return bench.run("propose", recipe=PROPOSE)


def test_a_stage_scores_its_parents_proposals(bench, proposed):
    work = bench.run("evaluate", [proposed], recipe=EVALUATE)
    metrics = record_of(work).metrics
    names = {f"coco_class_agnostic.{name}" for name in ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")}
    assert set(metrics) == names and record_of(work).iterations == 8
    assert 0 < metrics["coco_class_agnostic.AR100"] <= 100
    assert metrics["coco_class_agnostic.AR1"] <= metrics["coco_class_agnostic.AR10"]
    again = evaluate.score_file(work.stage.recipe, work.output / evaluate.DETECTIONS, work.datasets_root)
    assert again == pytest.approx(metrics)
    assert record_of(proposed).implementation["proposals"] == "random"


def test_a_recipe_for_detectors_refuses_proposals(bench, proposed):
    with pytest.raises(StageError, match="need a section proposals"):
        stage.run(bench.work("evaluate", [proposed]))


def test_detections_are_the_first_proposals_in_their_order(bench, proposed):
    found = Proposals(proposed.output / "proposals.npz")
    record = datasets.load("shapes_smoke_val", bench.datasets)[0]
    for scores, expected in (("equal", [1, 1, 1]), ("rank", [1, 1 / 2, 1 / 3])):
        instances = detections(found, record, 3, scores)["instances"]
        assert np.array_equal(instances.pred_boxes.tensor.numpy(), found.boxes(record["image_id"])[:3])
        assert instances.scores.tolist() == pytest.approx(expected)
        assert instances.pred_classes.tolist() == [0, 0, 0] and instances.image_size == (
            record["height"],
            record["width"],
        )
    with pytest.raises(DataError, match="Did you mean rank"):
        detections(found, record, 3, "rnk")
    with pytest.raises(DataError, match="was made for"):
        detections(found, {**record, "height": 5}, 3)


@pytest.mark.parametrize("engine", coco_box.installed())
def test_among_equal_scores_the_earlier_box_counts(tmp_path, engine):
    """One object an image, found by the second box: R@1 is 0 and R@2 is 1; exchanged, R@1 is 1."""
    box, other = [10.0, 10.0, 20.0, 20.0], [50.0, 50.0, 20.0, 20.0]
    images = [{"id": number, "height": 100, "width": 100, "file_name": "x"} for number in range(1, 41)]
    common = {"category_id": 1, "bbox": box, "area": 400, "iscrowd": 0}
    truth = [{"id": image["id"], "image_id": image["id"], **common} for image in images]
    file = tmp_path / "truth.json"
    file.write_text(json.dumps({"images": images, "annotations": truth, "categories": [{"id": 1, "name": "x"}]}))
    for boxes, first in (([other, box], 0), ([box, other], 100)):
        answers = [{"image_id": i["id"], "category_id": 1, "bbox": one, "score": 1.0} for i in images for one in boxes]
        numbers = coco_box.score(file, answers, max_detections=[1, 2, 2], class_agnostic=True, engine=engine)
        assert numbers["AR1"] == pytest.approx(first) and numbers["AR2"] == pytest.approx(100)
