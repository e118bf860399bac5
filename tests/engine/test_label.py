"""Labelling images by a trained detector, and training on what it found beside true labels."""

import dataclasses

import numpy as np
import pytest
import torch

from repro.data import datasets, splits
from repro.data.pseudo_labels import FILE, PseudoLabels
from repro.engine import checkpoint, config, label, mixed, parents, stage, train
from repro.errors import DataError, StageError

from .conftest import Bench, record_of

LABEL, TRAIN = "soft_teacher/label_coco_percent.py", "soft_teacher/multi_stage_coco_percent.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory, datasets_root):
    """A backbone, a supervised detector on a quarter of the images, and what it found in the others."""
    bench = Bench(tmp_path_factory.mktemp("label"), datasets_root)
    encoder = bench.run("encoder", recipe="common/encoder_msra_r50.py")
    detector = bench.run("train", [encoder], recipe="soft_teacher/supervised_coco_percent.py")
    labels = bench.run("label", [detector], recipe=LABEL, settings={"data.batch_size": 1, "label.shards": 3})
    return {"bench": bench, "encoder": encoder, "train": detector, "label": labels}


def test_it_finds_what_the_detector_finds_in_the_images_that_the_share_leaves_over(made):
    work, parent = made["label"], made["train"]
    labels = PseudoLabels(work.output / FILE)
    labels.verify()
    assert len(labels) == 12
    model = config.build(parent.stage.recipe["model"])
    model.load_state_dict(checkpoint.load(parent.output / checkpoint.FINAL)["model"])
    model.roi_heads.box_predictor.test_score_thresh = 0.0
    mapper = config.build(work.stage.recipe["data"]["mapper"])
    for record in datasets.load("shapes_smoke_train", made["bench"].datasets):
        if record["image_id"] not in labels.image_ids:
            continue
        with torch.no_grad():
            (answer,) = model.eval()([mapper(record)])
        found = labels.of(record["image_id"])
        assert np.array_equal(found.boxes, answer["instances"].pred_boxes.tensor.numpy())
        assert np.array_equal(found.scores, answer["instances"].scores.numpy())
        assert found.classes.tolist() == answer["instances"].pred_classes.tolist()
    found = record_of(work)
    assert (found.kind, found.iterations) == ("label", 12)
    assert found.metrics["labels.boxes"] == labels.header["boxes"] > 0
    assert found.metrics["labels.boxes_above_0.9"] == 0
    drawn = splits.load(work.output / found.artifacts["images"]["file"])
    assert sorted([*drawn, *labels.image_ids.tolist()]) == list(range(1, 17))


def test_jobs_that_share_it_leave_the_same_file(made):
    work = made["bench"].elsewhere(made["label"], "shared")
    stage.run(dataclasses.replace(work, share=(1, 2)))
    assert record_of(work) is None and not (work.output / FILE).exists()
    stage.run(dataclasses.replace(work, share=(0, 2)))
    assert record_of(work).artifacts["labels"] == record_of(made["label"]).artifacts["labels"]


def test_a_killed_one_loses_the_shard_in_its_hands(made, monkeypatch):
    work = made["bench"].elsewhere(made["label"], "killed")
    real, shards = label.Detect.find, []

    def dies_at_the_second(self, images, alive):
        shards.append(images)
        if len(shards) == 2:
            raise KeyboardInterrupt
        return real(self, images, alive)

    monkeypatch.setattr(label.Detect, "find", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        stage.run(work)
    stage.run(work)
    assert len(shards) == 4 and shards[2] == shards[1]  # three shards, and the second again
    assert record_of(work).artifacts["labels"] == record_of(made["label"]).artifacts["labels"]


def test_a_stage_without_a_detector_is_refused(made):
    work = made["bench"].work("label", [made["encoder"]], recipe=LABEL)
    with pytest.raises(StageError, match="labels by one trained detector; its parents are: encoder"):
        stage.run(work)


def training(made, **settings):
    return made["bench"].work("train", [made["encoder"], made["label"]], recipe=TRAIN, settings=settings)


def test_labels_and_pseudo_boxes_teach_together_and_a_killed_training_ends_the_same(made, monkeypatch):
    settings = {"train.iterations": 4, "train.checkpoint_period": 1}
    whole, parts = training(made, **settings), training(made, **settings)
    whole, parts = (made["bench"].elsewhere(work, name) for work, name in ((whole, "whole"), (parts, "parts")))
    stage.run(whole)
    with monkeypatch.context() as patch:
        real = train.Trainer.run_step

        def killed(self):
            if self.iter == 2:
                raise KeyboardInterrupt
            real(self)

        patch.setattr(train.Trainer, "run_step", killed)
        with pytest.raises(KeyboardInterrupt):
            stage.run(parts)
    assert checkpoint.latest(parts.output)["iteration"] == 2
    stage.run(parts)
    assert record_of(parts).checkpoint["sha256"] == record_of(whole).checkpoint["sha256"]
    assert record_of(whole).metrics["last.loss_cls"] > 0 and record_of(whole).metrics["last.loss_cls_unsup"] > 0


def test_a_batch_has_both_kinds_and_is_a_function_of_its_number(made):
    work = training(made)
    work.output.mkdir(parents=True)
    pools = mixed.pools(work, parents.of(work))
    loaded = [mixed.batches(work.stage.recipe, pools, 1)(start) for start in (0, 2)]
    first = [next(loaded[0]) for _ in range(4)]
    labels = PseudoLabels(made["label"].output / FILE)
    for batch in first:
        kinds = [sample.get("pseudo", False) for sample in batch]
        assert any(kinds) and not all(kinds)
        for sample in batch:
            assert sample["image"].dtype == torch.uint8
            if sample.get("pseudo"):
                found_classes = set(labels.of(sample["image_id"]).classes.tolist())
                assert set(sample["instances"].gt_classes.tolist()) <= found_classes
    for expected, batch in zip(first[2:], (next(loaded[1]), next(loaded[1])), strict=True):
        assert [sample["image_id"] for sample in batch] == [sample["image_id"] for sample in expected]
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(batch, expected, strict=True))


def test_labels_of_another_share_and_recipes_that_do_not_fit_are_refused(made):
    bench, both = made["bench"], [made["encoder"], made["label"]]
    other = bench.work("train", both, recipe=TRAIN, seed=2)
    with pytest.raises(DataError, match="no pseudo labels for image"):
        stage.run(other)
    with pytest.raises(StageError, match="chooses boxes of a label stage; it has none"):
        stage.run(bench.work("train", [made["encoder"]], recipe=TRAIN))
    with pytest.raises(StageError, match=r"lacks data\.unlabelled\.choose"):
        stage.run(bench.work("train", both, recipe="soft_teacher/soft_teacher_coco_percent.py"))
