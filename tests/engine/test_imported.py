"""Published detectors, of their authors' names and nesting but small: imported, scored, and said to be published."""

import argparse
import re

import pytest
import torch

from repro.configs.common import deformable_detr_r50, detr_r50
from repro.engine import checkpoint, config, stage
from repro.errors import StageError
from repro.weights import rtdetr

from .conftest import record_of

TORCHVISION = (
    (r"^backbone\.stem\.conv1\.norm\.", "backbone.0.body.bn1."),
    (r"^backbone\.stem\.", "backbone.0.body."),
    (r"^backbone\.res(\d)\.", lambda match: f"backbone.0.body.layer{int(match[1]) - 1}."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
)
AUTHORS = (
    *TORCHVISION,
    (r"^transformer\.queries\.", "transformer."),
    (r"^neck\.", ""),
    (r"^transformer\.query_", "query_"),
)


def published(model, family, heads):
    """The model's weights in a file of the family, with what else its authors left there."""
    if family == "rtdetr":
        return {"ema": {"module": rtdetr.to_published(model.state_dict())}, "last_epoch": 71}
    state = {}
    for name, value in model.state_dict().items():
        for pattern, replacement in AUTHORS:
            name = re.sub(pattern, replacement, name)
        copies = [name.replace("_embed.0.", f"_embed.{index}.") for index in range(heads)]
        copies = copies if heads else [name.replace("_embed.0.", "_embed.")]
        state |= dict.fromkeys(copies if name.startswith(("class_embed", "bbox_embed")) else [name], value)
    return {"model": state, "optimizer": {}, "epoch": 49, "args": argparse.Namespace(lr=2e-4, device="cuda")}


def small(recipe, scales):
    values = {**scales["small"], **scales["tiny"]}
    assert config.apply(recipe, values, "test") == []
    return values


CASES = {
    "published/detreg_coco.py": (deformable_detr_r50.scales, 2, "common/evaluate_coco_val2017.py"),
    "published/detr_r50.py": (detr_r50.scales, 0, "common/evaluate_coco_val2017.py"),
    "published/rtdetrv2_r18vd.py": (None, 0, "rtdetr/evaluate_coco_val2017.py"),
}


@pytest.mark.parametrize("recipe", CASES)
def test_a_published_detector_is_imported_and_scored(server, bench, recipe):
    folder, url = server
    scales, heads, evaluation = CASES[recipe]
    resolved = config.resolve(recipe).recipe
    if scales is None:
        resolved["model"] = config.resolve("rtdetr/rtdetrv2_r18vd.py", {}, "smoke").recipe["model"]
    else:
        small(resolved, scales)
    torch.manual_seed(0)
    original = config.build(resolved["model"])
    torch.save(published(original, resolved["published"]["family"], heads), folder / "detector.pth")
    settings = {"model": resolved["model"], "published.url": f"{url}/detector.pth", "published.sha256": None}
    imported = bench.run("finetune", recipe=recipe, settings=settings)
    weights = checkpoint.load(imported.output / checkpoint.FINAL)["model"]
    own = original.state_dict()
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[name], own[name]) for name in own if "num_batches" not in name)
    evaluated = bench.run("evaluate", [imported], recipe=evaluation)
    assert [record_of(work).origin for work in (imported, evaluated)] == ["published", "published"]
    assert "coco_box.AP" in record_of(evaluated).metrics


def test_a_detector_of_ones_own_is_retrained(chain):
    assert record_of(chain["evaluate"]).origin == record_of(chain["finetune"]).origin == "retrained"


def test_a_pretrained_detector_is_fine_tuned_here(server, bench):
    """DETReg's released pretraining: its embedding head is left behind, its objectness is our first class."""
    folder, url = server
    recipe = "published/detreg_imagenet.py"
    resolved = config.resolve(recipe).recipe
    small(resolved, deformable_detr_r50.scales)
    content = published(config.build(resolved["model"]), "deformable_detr", 2)
    content["model"] |= {"feature_embed.layers.0.weight": torch.zeros(64, 64)}
    torch.save(content, folder / "pretrained.pth")
    settings = {"model": resolved["model"], "published.url": f"{url}/pretrained.pth"}
    imported = bench.run("pretrain", recipe=recipe, settings=settings)
    finetuned = bench.run("finetune", [imported])
    assert record_of(finetuned).origin == "retrained"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"published.url": "URL/nothing.pth"}, r"cannot be downloaded .*put it at .*weights/nothing\.pth"),
        ({"published.url": "URL/page.html"}, "answers with a web page"),
        ({"published.url": "URL/detector.pth", "published.sha256": "00000000"}, "has SHA-256"),
        ({"published.url": "URL/detector.pth"}, r"do not fit the model from .*detector\.pth: .*missing"),
    ],
    ids=str,
)
def test_what_keeps_a_published_detector_from_being_imported_is_said(server, bench, settings, complaint):
    folder, url = server
    (folder / "page.html").write_text("<html>Are you sure?</html>")
    torch.save({"model": {"query_embed.weight": torch.zeros(1)}}, folder / "detector.pth")
    recipe = "published/detreg_coco.py"
    small_model = config.resolve(recipe).recipe
    small(small_model, deformable_detr_r50.scales)
    chosen = {key: value.replace("URL", url) for key, value in settings.items()} | {"model": small_model["model"]}
    with pytest.raises(StageError, match=complaint):
        stage.run(bench.work("finetune", recipe=recipe, settings=chosen))
