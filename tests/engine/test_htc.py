"""HTC++'s stages at scale smoke: a Swin backbone, training with masks, evaluation at one scale and at several."""

import gzip
import json

import pytest
import torch

from repro.engine import checkpoint

from .conftest import Bench, record_of


@pytest.fixture(scope="module")
def made(tmp_path_factory, datasets_root):
    bench = Bench(tmp_path_factory.mktemp("htc"), datasets_root)
    backbone = bench.run("encoder", recipe="soft_teacher/backbone_swin_l.py", seed=0)
    trained = bench.run("train", [backbone], recipe="soft_teacher/htc_swin_l.py")
    return bench, backbone, trained


def weights(work):
    return checkpoint.load(work.output / checkpoint.FINAL)["model"]


def test_training_starts_from_the_backbone_and_has_all_losses(made):
    _, backbone, trained = made
    before, after = weights(backbone), weights(trained)
    own = {name.removeprefix("backbone.bottom_up.") for name in after if name.startswith("backbone.bottom_up.")}
    fresh = {name for name in own if name.split(".")[0] in ("norms", "global_attention")}
    assert own - fresh == before.keys() and fresh
    moved = after["backbone.bottom_up.body.net.layers_0.blocks.0.mlp.fc1.weight"]
    assert 0 < (moved - before["body.net.layers_0.blocks.0.mlp.fc1.weight"]).abs().max() < 0.01
    losses = {name.removeprefix("last.") for name in record_of(trained).metrics}
    staged = {f"{name}_stage{stage}" for name in ("loss_cls", "loss_box_reg", "loss_mask") for stage in range(3)}
    assert losses == staged | {"loss_rpn_cls", "loss_rpn_loc", "loss_sem_seg"}


@pytest.mark.parametrize("recipe", ["evaluate_coco_val2017_mask", "evaluate_coco_val2017_mask_multi_scale"])
def test_boxes_and_masks_are_scored(made, recipe):
    bench, _, trained = made
    work = bench.run("evaluate", [trained], recipe=f"soft_teacher/{recipe}.py")
    metrics = record_of(work).metrics
    assert 0 <= metrics["coco_mask.AP"] <= 100 and 0 <= metrics["coco_box.AP"] <= 100
    assert not torch.tensor([metrics["coco_mask.AR100"]]).isnan()
    with gzip.open(work.output / "detections.json.gz", "rt") as file:
        assert len(json.load(file)) > 0
