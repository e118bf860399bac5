"""Every recipe at every scale: it resolves, whatever was loaded before, and what it describes can be built."""

import json

import pytest

from repro.configs.scales import combine, moved
from repro.engine import config

RECIPES = [name for name in config.recipes() if not name.startswith(("common/", "published/"))] + [
    "common/encoder_swav.py",
    "common/encoder_swav_projection.py",
    "common/encoder_swav_400ep.py",
    "common/encoder_supervised.py",
    "common/encoder_timm.py",
    "common/encoder_checkpoint.py",
    "common/evaluate_coco_val2017.py",
    "common/evaluate_voc_test2007.py",
]


PUBLISHED = [name for name in config.recipes() if name.startswith("published/")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_detector_has_its_own_file_and_one_size(name):
    paper, tiny = (config.resolve(name, {}, scale).recipe for scale in ("paper", "tiny"))
    assert paper == tiny and set(paper) == {"model", "published", "run"}
    published = paper["published"]
    urls = [config.load(other)["published"]["url"] for other in PUBLISHED]
    assert urls.count(published["url"]) == 1 and published["url"].startswith("https://")
    assert published.get("file", published["url"]).endswith(".pth")
    assert config.pkgutil.resolve_name(f"repro.weights.{published['family']}:convert")


def test_some_recipes_were_found():
    assert {"detreg/propose_coco.py", "detreg/pretrain_coco.py", "detreg/finetune_coco_percent.py"} <= set(RECIPES)


@pytest.mark.parametrize("scale", config.SCALES)
def test_recipes_do_not_change_each_other(scale):
    forwards = [json.dumps(config.resolve(name, {}, scale)) for name in RECIPES]
    backwards = [json.dumps(config.resolve(name, {}, scale)) for name in reversed(RECIPES)]
    assert forwards == backwards[::-1]


@pytest.mark.parametrize("name", RECIPES)
def test_a_scale_keeps_every_class_and_changes_something(name):
    def targets(recipe):
        return {key: value for key, value in config.dotted(recipe) if key.endswith("_target_")}

    paper, *smaller = (config.resolve(name, {}, scale).recipe for scale in config.SCALES)
    for recipe in smaller:
        assert targets(recipe) == targets(paper)
        assert recipe != paper
        assert "coco" not in json.dumps(recipe.get("data", {}).get("dataset"))  # what needs no images has none


@pytest.mark.parametrize("name", [name for name in RECIPES if "model" in config.load(name)])
def test_models_can_be_built_at_small_scales(name):
    for scale in ("small", "tiny", "smoke"):
        model = config.build(config.resolve(name, {}, scale).recipe["model"])
        assert sum(parameter.numel() for parameter in model.parameters()) < 4_000_000


def test_paper_values_of_table_5():
    """Against the authors' configurations, and parameter counts of the authors' classes."""
    pretrain = config.resolve("detreg/pretrain_coco.py").recipe
    finetune = config.resolve("detreg/finetune_coco_percent.py", {"data.percent": 1}).recipe
    assert (pretrain["train"]["epochs"], pretrain["train"]["lr_drops"]) == (50, [40])
    assert pretrain["data"]["total_batch_size"] == 192
    assert pretrain["optimizer"]["lr_factors"]["backbone"] == 0
    assert (finetune["train"]["epochs"], finetune["train"]["lr_drops"]) == (2000, [])
    assert finetune["data"]["total_batch_size"] == 24
    assert finetune["optimizer"]["lr"] == 2e-4
    classes, dim = 91, 256  # the published head has 91 outputs, ours has 80
    assert parameters(finetune["model"]) + (classes - 80) * (dim + 1) == 40_069_665


def test_paper_values_of_detr():
    """Against the authors' configurations, and parameter counts of the authors' classes (91 ids and "no object")."""
    pretrain = config.resolve("detreg/pretrain_imagenet_detr.py").recipe
    finetune = config.resolve("detreg/finetune_coco_detr.py").recipe
    up_pretrain = config.resolve("up_detr/pretrain_imagenet_detr.py").recipe
    up_finetune = config.resolve("up_detr/finetune_coco.py").recipe
    for recipe in (pretrain["model"]["detector"], finetune["model"]):
        assert recipe["transformer"]["encoder"]["pre_norm"] and recipe["transformer"]["decoder"]["pre_norm"]
        assert recipe["transformer"]["centred_position"]
    for recipe in (up_pretrain["model"]["detector"], up_finetune["model"]):
        assert recipe["transformer"]["encoder"]["pre_norm"] and not recipe["transformer"]["centred_position"]
    schedules = [(r["train"]["epochs"], r["train"]["lr_drops"]) for r in (pretrain, finetune, up_pretrain, up_finetune)]
    assert schedules == [(60, []), (150, [100]), (60, [40]), (150, [100])]
    batches = [r["data"]["total_batch_size"] for r in (pretrain, finetune, up_pretrain, up_finetune)]
    assert batches == [192, 32, 256, 16]
    factors = [r["optimizer"]["lr_factors"] for r in (pretrain, finetune, up_pretrain, up_finetune)]
    assert factors == [{"backbone": 0}, {"backbone": 0.1}, {"backbone": 0}, {"backbone": 0.5}]
    head = (91 - 80) * (256 + 1)
    assert parameters(finetune["model"]) + head == 41_525_280
    pre_norm = {"model.transformer.encoder.pre_norm": False, "model.transformer.decoder.pre_norm": False}
    assert parameters(config.resolve("detreg/finetune_coco_detr.py", pre_norm).recipe["model"]) + head == 41_524_768


def parameters(model):
    return sum(parameter.numel() for parameter in config.build(model).parameters())


@pytest.mark.parametrize(
    ("name", "dataset", "epochs", "drops", "batch", "classes"),
    [
        ("finetune_coco", "coco_2017_train", 50, [40], 32, 80),
        ("finetune_voc", "voc_0712_trainval", 100, [70], 32, 20),
        ("finetune_airbus", "airbus_train", 100, [80], 32, 1),
        ("finetune_coco_base60", "coco_fewshot_base", 50, [40], 32, 80),
        ("finetune_coco_shots", "coco_fewshot_train", 150, [140], 32, 80),
        ("finetune_coco_images", "coco_2017_train", 2000, [], 24, 80),
    ],
)
def test_paper_values_of_the_other_fine_tunings(name, dataset, epochs, drops, batch, classes):
    """Paper, Sec. 4.1 to 4.3, and the authors' README."""
    recipe = config.resolve(f"detreg/{name}.py").recipe
    train, data = recipe["train"], recipe["data"]
    assert (data["dataset"], train["epochs"], train["lr_drops"]) == (dataset, epochs, drops)
    assert (data["total_batch_size"], recipe["model"]["num_classes"]) == (batch, classes)
    assert (data["percent"], recipe["optimizer"]["lr"]) == (100, 2e-4)


@pytest.mark.parametrize(
    ("name", "epochs", "drops"), [("pretrain_imagenet", 5, []), ("pretrain_imagenet100", 50, [40])]
)
def test_pretraining_on_imagenet_is_that_on_coco_but_for_images_and_length(name, epochs, drops):
    coco, other = (config.resolve(f"detreg/{one}.py").recipe for one in ("pretrain_coco", name))
    assert (other["train"]["epochs"], other["train"]["lr_drops"]) == (epochs, drops)
    other["data"]["dataset"] = coco["data"]["dataset"]
    other["train"] |= {"epochs": 50, "lr_drops": [40]}
    assert other == coco


def test_recipes_read_the_images_that_their_names_say():
    for name in RECIPES:
        kind = "imagenet100" if "imagenet100" in name else "imagenet" if "imagenet" in name else None
        if kind is not None:
            assert config.resolve(name).recipe["data"]["dataset"] == f"{kind}_train", name


def test_small_scales_pretrain_once_for_all_tables():
    """The generated images stand in for COCO, ImageNet and ImageNet-100 alike."""
    for scale in ("small", "tiny", "smoke"):
        for kind in ("propose", "pretrain"):
            made = [config.resolve(f"detreg/{kind}_{on}.py", {}, scale) for on in ("coco", "imagenet", "imagenet100")]
            assert made[0] == made[1] == made[2]


def test_whether_pretraining_freezes_the_backbone_is_the_rows_to_say_at_every_scale():
    for scale in config.SCALES:
        factors = [
            config.resolve("detreg/pretrain_coco.py", {"optimizer.lr_factors.backbone": factor}, scale).recipe
            for factor in (0, 0.1)
        ]
        assert [recipe["optimizer"]["lr_factors"]["backbone"] for recipe in factors] == [0, 0.1]


def test_scales_are_combined_and_moved():
    one, two = {"tiny": {"model.a": 1, "data.b": 2}}, {"tiny": {"data.b": 3}, "smoke": {"model": 4}}
    assert combine(one, two) == {"tiny": {"model.a": 1, "data.b": 3}, "smoke": {"model": 4}}
    assert moved(one, "model", "model.detector") == {"tiny": {"model.detector.a": 1, "data.b": 2}}


def test_what_fades_in_the_end_of_a_training_fades_in_its_end_at_every_scale():
    for scale in config.SCALES:
        recipe = config.resolve("soft_teacher/decay_coco_percent.py", {}, scale).recipe
        decay, steps = recipe["model"]["decay"], recipe["train"]["iterations"]
        assert decay["iterations"] == steps
        assert 0 < decay["last"] <= max(steps * 10_000 / 180_000, 1)
