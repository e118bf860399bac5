"""Recipes beside the main path, as stages at scale smoke: DETReg around DETR, and UP-DETR around both detectors."""

import pytest
import torch

from repro.engine import checkpoint, config

DETR = ("detreg/pretrain_imagenet_detr.py", "detreg/finetune_coco_detr.py", True)
UP_DETR = ("up_detr/pretrain_imagenet_detr.py", "up_detr/finetune_coco.py", False)
PORT = ("up_detr/pretrain_imagenet_deformable_detr.py", "detreg/finetune_coco_percent.py", False)


@pytest.mark.parametrize(("pretrain", "finetune", "regions"), [DETR, UP_DETR, PORT], ids=["detreg", "updetr", "port"])
def test_from_the_backbone_to_the_detections(chain, bench, pretrain, finetune, regions):
    """Each stage starts from the one before, strictly, and the fine-tuned detector has none of the task's heads."""
    bench = type(bench)(chain["encoder"].output_root.parent, bench.datasets)
    parents = [chain["encoder"], *([chain["propose"]] if regions else [])]
    first = bench.run("pretrain", parents, recipe=pretrain)
    settings = {"init.pretrain.drop": ["class_embed", "patch2query", "feature_align"]} if finetune == PORT[1] else {}
    second = bench.run("finetune", [first], recipe=finetune, settings=settings)
    bench.run("evaluate", [second])
    before, after = (checkpoint.load(work.output / checkpoint.FINAL)["model"] for work in (first, second))
    dropped = {name.split(".")[0] for name in before.keys() - after.keys()}
    assert dropped == ({"embedding_head", "target_encoder"} if regions else {"patch2query", "feature_align"})
    assert after.keys() <= before.keys()


def test_detr_from_a_backbone_alone(chain, bench):
    bench = type(bench)(chain["encoder"].output_root.parent, bench.datasets)
    work = bench.run("finetune", [chain["encoder"]], recipe="detreg/finetune_coco_detr.py")
    assert config.build(work.stage.recipe["model"]).state_dict().keys() == (
        checkpoint.load(work.output / checkpoint.FINAL)["model"].keys()
    )


def test_projections_for_targets(chain, bench):
    """The head that SwAV was trained with is kept, and is where DETReg's targets come from."""
    encoder = bench.run("encoder", recipe="common/encoder_swav_projection.py")
    weights = checkpoint.load(encoder.output / checkpoint.FINAL)["model"]
    plain = checkpoint.load(chain["encoder"].output / checkpoint.FINAL)["model"]
    assert {name for name in weights if not name.startswith("projection.")} == plain.keys()
    for name, value in plain.items():
        assert torch.equal(weights[name], value), name
    propose = bench.run("propose")
    work = bench.run("pretrain", [encoder, propose], recipe="detreg/pretrain_coco_projection.py")
    found = checkpoint.load(work.output / checkpoint.FINAL)["model"]
    assert torch.equal(found["target_encoder.projection.3.weight"], weights["projection.3.weight"])
    assert torch.equal(found["target_encoder.res5.0.conv1.weight"], weights["res5.0.conv1.weight"])
    assert found["embedding_head.layers.1.weight"].shape[0] == 64
