"""Evaluation: what is written down gives the same numbers again, and foreign detections are checked."""

import copy
import dataclasses
import gzip
import json

import pytest
import torch

from repro.engine import evaluate, parents, stage
from repro.errors import DataError, StageError

from .conftest import record_of

KEYS = ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")


def test_the_kept_detections_score_as_recorded(chain):
    work = chain["evaluate"]
    metrics = evaluate.score_file(work.stage.recipe, work.output / evaluate.DETECTIONS, work.datasets_root)
    assert metrics == pytest.approx(record_of(work).metrics, abs=1e-9, nan_ok=True)


def test_foreign_detections_are_scored_and_checked(chain, tmp_path):
    work = chain["evaluate"]
    detections = json.loads(gzip.decompress((work.output / evaluate.DETECTIONS).read_bytes()))
    assert set(detections[0]) == {"image_id", "category_id", "bbox", "score"}
    assert {detection["category_id"] for detection in detections} <= set(range(1, 9))  # the file's ids, not 0..7
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(detections))
    assert "coco_box.AP" in evaluate.score_file(work.stage.recipe, path, work.datasets_root)
    detections[3]["category_id"] = 999
    path.write_text(json.dumps(detections))
    with pytest.raises(DataError, match=r"theirs\.json has 1 fault"):
        evaluate.score_file(work.stage.recipe, path, work.datasets_root)
    path.write_text("no JSON")
    with pytest.raises(DataError, match=r"theirs\.json cannot be read"):
        evaluate.score_file(work.stage.recipe, path, work.datasets_root)


def test_ground_truth_written_as_detections_scores_a_hundred(chain, tmp_path):
    from repro.data import datasets

    work = chain["evaluate"]
    truth = json.loads(datasets.annotation_file("shapes_smoke_val", work.datasets_root).read_text())
    perfect = [
        {key: annotation[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1.0}
        for annotation in truth["annotations"]
        if not annotation["iscrowd"]
    ]
    path = tmp_path / "perfect.json"
    path.write_text(json.dumps(perfect))
    metrics = evaluate.score_file(work.stage.recipe, path, work.datasets_root)
    assert metrics["coco_box.AP"] == pytest.approx(100)


def test_the_batch_size_does_not_change_a_score(chain, bench):
    numbers = []
    for size in (1, 4):
        work = bench.work("evaluate", [chain["finetune"]], settings={"data.batch_size": size})
        work = bench.elsewhere(_at(work, chain), f"batch-{size}")
        stage.run(work)
        numbers.append(record_of(work).metrics["coco_box.AR100"])
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-3)


def _at(work, chain):
    import dataclasses

    return dataclasses.replace(work, output_root=chain["finetune"].output_root, records=chain["finetune"].records)


def test_one_detector_is_scored_and_not_several(chain, bench):
    work = bench.work("evaluate", [chain["pretrain"], chain["finetune"]])
    with pytest.raises(StageError, match="has 2 parents"):
        stage.run(bench.elsewhere(_at(work, chain), "two"))


def test_metrics_go_by_the_names_of_the_recipe(chain, bench):
    """Twice the same evaluator, once blind to classes: the second must not take the place of the first."""
    work = bench.elsewhere(chain["evaluate"], "twice")
    recipe = copy.deepcopy(work.stage.recipe)
    recipe["evaluators"]["proposals"] = recipe["evaluators"]["coco_box"] | {"class_agnostic": True}
    work = dataclasses.replace(work, stage=dataclasses.replace(work.stage, recipe=recipe))
    stage.run(work)
    metrics = record_of(work).metrics
    alone = record_of(chain["evaluate"]).metrics
    assert {name: metrics[name] for name in alone} == pytest.approx(alone, nan_ok=True)
    assert len(metrics) == 2 * len(alone)
    again = evaluate.score_file(recipe, work.output / evaluate.DETECTIONS, work.datasets_root)
    assert metrics == pytest.approx(again, abs=1e-9, nan_ok=True)


def test_settings_of_inference_are_laid_over_the_detectors(chain, bench):
    """Fewer detections for the same weights; what the detector does not have is refused by name."""
    parent = chain["finetune"]
    found = {"finetune": parents.Parent("finetune", "finetune", parent.output, parent.stage.recipe)}
    model = evaluate.detector(found["finetune"], {"inference": {"test_topk": 3}})
    assert model == {**parent.stage.recipe["model"], "test_topk": 3}
    assert evaluate.detector(found["finetune"], {}) == parent.stage.recipe["model"]
    with pytest.raises(StageError, match=r"inference does not fit: backbone.dept is set.* Did you mean backbone.depth"):
        evaluate.detector(found["finetune"], {"inference": {"backbone": {"dept": 3}}})


def test_an_objectness_ranks_all_queries(chain, bench):
    recipe = "detreg/evaluate_objectness_coco_val2017.py"
    work = _at(bench.work("evaluate", [chain["pretrain"]], recipe=recipe), chain)
    stage.run(work)
    with gzip.open(work.output / evaluate.DETECTIONS, "rt") as file:
        found = json.load(file)
    queries = chain["pretrain"].stage.recipe["model"]["detector"]["transformer"]["queries"]["num_queries"]
    images = {detection["image_id"] for detection in found}
    assert len(found) == queries * len(images) and len({one["category_id"] for one in found}) == 1
    assert set(record_of(work).metrics) == {f"coco_class_agnostic.{key}" for key in KEYS}


def test_an_objectness_that_the_detector_does_not_have(chain, bench):
    recipe = "detreg/evaluate_objectness_coco_val2017.py"
    settings = {"detector.only_class": 8}
    work = _at(bench.work("evaluate", [chain["pretrain"]], recipe=recipe, settings=settings), chain)
    with pytest.raises(StageError, match="only_class to 8; there are 8"):
        stage.run(work)
    with pytest.raises(StageError, match="a Linear ranks by all its classes"):
        evaluate.rank_by(torch.nn.Linear(1, 1), 0)
