"""HTC++'s stages at scale smoke: a Swin backbone, training with masks, evaluation at one scale and at several."""

import gzip
import json

import pytest
import torch

from repro.engine import checkpoint, config, parents

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


def test_what_objects365_taught_is_taken_over_but_for_classes_and_what_it_has_no_labels_for(made):
    bench, backbone, _ = made
    pretrained = bench.run("pretrain", [backbone], recipe="soft_teacher/pretrain_objects365_htc_swin_l.py")
    losses = record_of(pretrained).metrics
    assert "last.loss_sem_seg" not in losses and all(losses[f"last.loss_mask_stage{stage}"] == 0 for stage in range(3))
    recipe = config.resolve("soft_teacher/soft_teacher_objects365_htc_swin_l.py", {}, "smoke").recipe
    torch.manual_seed(5)
    fresh = config.build(recipe["model"]).student.state_dict()
    torch.manual_seed(5)
    model = config.build(recipe["model"])
    parent = parents.Parent("objects365", "pretrain", pretrained.output, pretrained.stage.recipe)
    parents.initialise(model, recipe["init"], {"pretrain": parent})
    given, own = weights(pretrained), model.student.state_dict()
    anew = {name for name in own if {"cls_score", "mask", "semantic_head"} & set(name.split("."))}
    assert all(torch.equal(own[name], fresh[name]) for name in anew)
    assert all(torch.equal(own[name], given[name]) for name in own.keys() - anew)
    assert (
        given["roi_heads.box.cls_score.0.weight"].shape[0] == 17
        and own["roi_heads.box.cls_score.0.weight"].shape[0] == 9
    )
    assert {name.split(".")[0] for name in own.keys() - anew} == {"backbone", "proposal_generator", "roi_heads"}
