"""Recipes as plain values: overrides, scales, faults, and building them again."""

import builtins
import json
import textwrap

import pytest
from torch import nn

from repro.engine import config
from repro.errors import RecipeError

FINETUNE = "detreg/finetune_coco_percent.py"


def recipe_file(tmp_path, body):
    path = tmp_path / "recipe.py"
    path.write_text("from detectron2.config import LazyCall as L\nfrom torch import nn\n" + textwrap.dedent(body))
    return str(path)


def test_a_resolved_recipe_is_plain_and_complete():
    recipe, datasets = config.resolve(FINETUNE, {}, "paper")
    assert json.loads(json.dumps(recipe)) == recipe
    assert recipe["model"]["_target_"] == "repro.meta_arch.deformable_detr.DeformableDETR"
    assert recipe["model"]["backbone"]["_target_"] == "repro.modeling.backbone.resnet"
    assert recipe["data"]["total_batch_size"] == 24
    assert "scales" not in recipe
    assert list(datasets) == ["coco_2017_train"]


def test_overrides_change_what_they_name_and_nothing_else():
    before = dict(config.dotted(config.resolve(FINETUNE).recipe))
    after = dict(config.dotted(config.resolve(FINETUNE, {"data.percent": 10, "train.epochs": 400}).recipe))
    changed = {key for key in before if before[key] != after[key] and not isinstance(before[key], dict)}
    assert changed == {"data.percent", "train.epochs"}


def test_a_scale_starts_from_the_one_before_it():
    small, tiny, smoke = (config.resolve(FINETUNE, {}, scale).recipe for scale in ("small", "tiny", "smoke"))
    assert (
        small["model"]["backbone"]["width"] == tiny["model"]["backbone"]["width"] == smoke["model"]["backbone"]["width"]
    )
    assert smoke["train"]["iterations"] == 2
    assert smoke["model"]["_target_"] == config.resolve(FINETUNE).recipe["model"]["_target_"]


def test_a_scale_goes_over_what_is_set_unless_it_is_marked_to_give_way(tmp_path):
    text = """
train = dict(epochs=9, threshold=0.9)
scales = {"small": {"train.epochs": 2, "?train.threshold": 0.7}, "tiny": {"?train.threshold": 0.5}}
"""
    path = recipe_file(tmp_path, text)

    def found(overrides, scale):
        return config.resolve(path, overrides, scale).recipe["train"]

    assert found({}, "small") == {"epochs": 2, "threshold": 0.7}
    assert found({"train.epochs": 5}, "small")["epochs"] == 2
    assert [found({"train.threshold": 0.8}, scale)["threshold"] for scale in config.SCALES] == [0.8] * 4
    assert found({"train": {"epochs": 1, "threshold": 0.8}}, "tiny") == {"epochs": 2, "threshold": 0.8}
    assert [found({}, scale)["threshold"] for scale in config.SCALES] == [0.9, 0.7, 0.5, 0.5]


def test_all_unknown_and_misfitting_settings_are_named_at_once():
    wrong = {"data.procent": 1, "train.epochs": "many", "model": 3, "optimizer.lr": 1}
    with pytest.raises(RecipeError) as error:
        config.resolve(FINETUNE, wrong)
    message = str(error.value)
    assert "3 faults" in message
    assert "data.procent" in message
    assert "Did you mean data.percent?" in message
    assert "train.epochs is a number" in message
    assert "model is a section" in message


@pytest.mark.parametrize("recipe", ["detreg/finetune_coco_procent.py", "detreg"])
def test_a_missing_recipe_gets_the_nearest_one(recipe):
    with pytest.raises(RecipeError, match="no recipe"):
        config.resolve(recipe)
    with pytest.raises(RecipeError, match=r"Did you mean detreg/finetune_coco_percent\.py"):
        config.resolve("detreg/finetune_coco_procent.py")


def test_an_unknown_scale_gets_the_nearest_one():
    with pytest.raises(RecipeError, match="Did you mean tiny"):
        config.resolve(FINETUNE, {}, "tinny")


def test_a_scale_that_sets_what_the_recipe_lacks_is_a_fault(tmp_path):
    path = recipe_file(tmp_path, 'train = dict(epochs=1)\nscales = {"tiny": {"train.epoch": 2}}')
    assert config.resolve(path, {}, "small").recipe == {"train": {"epochs": 1}}
    with pytest.raises(RecipeError, match=r"train\.epoch is set, which .*scale tiny"):
        config.resolve(path, {}, "tiny")


def test_what_cannot_be_written_down_is_named(tmp_path):
    path = recipe_file(tmp_path, "train = dict(clip=nn.ReLU(), rate=L(lambda: 1)())")
    with pytest.raises(RecipeError) as error:
        config.resolve(path)
    assert "train.clip is a ReLU" in str(error.value)
    assert "train.rate._target_" in str(error.value)


def test_a_recipe_that_raises_is_named_and_leaves_python_as_it_was(tmp_path):
    before = builtins.__import__
    with pytest.raises(RecipeError, match=r"cannot be loaded: ZeroDivisionError"):
        config.resolve(recipe_file(tmp_path, "x = 1 / 0"))
    assert builtins.__import__ is before


def test_calls_are_made_from_the_inside_out():
    layer = {"_target_": "torch.nn.modules.linear.Linear", "in_features": 2, "out_features": 3}
    built = config.build({"parts": [layer, {"kept": {"size": 4}}]})
    assert isinstance(built["parts"][0], nn.Linear)
    assert built["parts"][1] == {"kept": {"size": 4}}
    assert config.build({**layer, "out_features": 3}, bias=False).bias is None


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "torch.nn.modules.linear.Lineal"}, "does not exist"),
        ({"_target_": "nowhere.at.all"}, "does not exist"),
        ({"_target_": "torch.nn.modules.linear.Linear", "in_feature": 2}, "wrongly"),
    ],
)
def test_calls_that_cannot_be_made_are_named(node, message):
    with pytest.raises(RecipeError, match=message):
        config.build({"model": node})
