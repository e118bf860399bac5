"""Published detectors under our names, tried on state dictionaries of their names and shapes with random values.

Names, shapes and numbers of tensors are those that the authors' classes have.
"""

import copy
import itertools

import pytest
import torch
import torchvision

from repro.engine import config
from repro.errors import StageError
from repro.weights import deformable_detr, detr

DIM = 256


@pytest.fixture(scope="module")
def backbone():
    state = torchvision.models.resnet50(weights=None).state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith("fc.") and "num_batches" not in name}
    return {f"backbone.0.body.{name}": value for name, value in kept.items()}


def layer(name, *shape):
    """A linear layer, or a norm."""
    return {f"{name}.weight": torch.randn(*shape), f"{name}.bias": torch.randn(shape[0])}


def attention(name):
    packed = {f"{name}.in_proj_weight": torch.randn(3 * DIM, DIM), f"{name}.in_proj_bias": torch.randn(3 * DIM)}
    return packed | layer(f"{name}.out_proj", DIM, DIM)


def mlp(name, *sizes):
    state = {}
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        state |= layer(f"{name}.layers.{index}", outputs, inputs)
    return state


def feed_forward(name, hidden, norms):
    state = layer(f"{name}.linear1", hidden, DIM) | layer(f"{name}.linear2", DIM, hidden)
    for index in range(norms):
        state |= layer(f"{name}.norm{index + 1}", DIM)
    return state


def published_detr(backbone, pre_norm, classes=92):
    state = dict(backbone)
    for index in range(6):
        name = f"transformer.encoder.layers.{index}"
        state |= attention(f"{name}.self_attn") | feed_forward(name, 2048, 2)
        name = f"transformer.decoder.layers.{index}"
        state |= attention(f"{name}.self_attn") | attention(f"{name}.multihead_attn") | feed_forward(name, 2048, 3)
    state |= layer("transformer.encoder.norm", DIM) if pre_norm else {}
    state |= layer("transformer.decoder.norm", DIM) | layer("class_embed", classes, DIM)
    state |= mlp("bbox_embed", DIM, DIM, DIM, 4) | layer("input_proj", DIM, 2048, 1, 1)
    return state | {"query_embed.weight": torch.randn(100, DIM)}


def published_deformable(backbone, heads=6, refined=False, two_stage=False):
    state = dict(backbone) | {"transformer.level_embed": torch.randn(4, DIM)}
    deformable = {"sampling_offsets": DIM, "attention_weights": 128, "value_proj": DIM, "output_proj": DIM}
    for part, kind, norms in (("encoder", "self_attn", 2), ("decoder", "cross_attn", 3)):
        for index in range(6):
            name = f"transformer.{part}.layers.{index}"
            for projection, size in deformable.items():
                state |= layer(f"{name}.{kind}.{projection}", size, DIM)
            state |= feed_forward(name, 1024, norms) | (attention(f"{name}.self_attn") if part == "decoder" else {})
    for index, channels in enumerate((512, 1024, 2048)):
        state |= layer(f"input_proj.{index}.0", DIM, channels, 1, 1) | layer(f"input_proj.{index}.1", DIM)
    state |= layer("input_proj.3.0", DIM, 2048, 3, 3) | layer("input_proj.3.1", DIM)
    if two_stage:
        state |= layer("transformer.enc_output", DIM, DIM) | layer("transformer.enc_output_norm", DIM)
        state |= layer("transformer.pos_trans", 2 * DIM, 2 * DIM) | layer("transformer.pos_trans_norm", 2 * DIM)
    else:
        state |= layer("transformer.reference_points", 2, DIM) | {"query_embed.weight": torch.randn(300, 2 * DIM)}
    first = layer("class_embed.0", 91, DIM) | mlp("bbox_embed.0", DIM, DIM, DIM, 4)
    for index in range(heads):
        own = layer("class_embed.0", 91, DIM) | mlp("bbox_embed.0", DIM, DIM, DIM, 4) if refined else first
        own = {name.replace("_embed.0.", f"_embed.{index}."): value for name, value in own.items()}
        state |= own
        state |= {f"transformer.decoder.{n}": v for n, v in own.items() if two_stage or (refined and "bbox" in n)}
    return state


def fits(converted, recipe, left_out=(), settings=None):
    """The model of a recipe at paper scale, with the converted weights loaded strictly."""
    model = config.build(config.resolve(recipe, settings or {}).recipe["model"])
    own = {name for name in model.state_dict() if name.split(".")[0] not in left_out}
    assert own == converted.keys()
    model.load_state_dict(converted, strict=False)
    return model


POST_NORM = {"model.transformer.encoder.pre_norm": False, "model.transformer.decoder.pre_norm": False}


def test_detr(backbone):
    state = published_detr(backbone, pre_norm=False)
    assert len(state) == 458
    model = fits(detr.convert(state), "detreg/finetune_coco_detr.py", settings=POST_NORM)
    ids = [1, 2, 13, 90]  # person, bicycle, stop sign (11 of 80, since 12 is no class), toothbrush
    assert torch.equal(model.class_embed[0].weight[[0, 1, 11, 79]], state["class_embed.weight"][ids])
    assert torch.equal(model.class_embed[0].bias[-1], state["class_embed.bias"][91])
    assert torch.equal(model.neck.input_proj.weight, state["input_proj.weight"])
    assert torch.equal(model.transformer.queries.query_embed.weight, state["query_embed.weight"])
    assert torch.equal(model.bbox_embed[0].layers[2].bias, state["bbox_embed.layers.2.bias"])
    last = "transformer.decoder.layers.5.multihead_attn.out_proj.weight"
    assert torch.equal(model.transformer.decoder.layers[5].multihead_attn.out_proj.weight, state[last])
    deep = "backbone.0.body.layer4.0.downsample.1.running_var"
    assert torch.equal(model.backbone.res5[0].shortcut.norm.running_var, state[deep])


def test_a_pre_norm_file_does_not_fit_a_post_norm_model(backbone):
    converted = detr.convert(published_detr(backbone, pre_norm=True))
    with pytest.raises(AssertionError):
        fits(converted, "detreg/finetune_coco_detr.py", settings=POST_NORM)


def test_detreg_around_detr(backbone):
    state = published_detr(backbone, pre_norm=True) | mlp("feature_embed", DIM, DIM, 512)
    assert len(state) == 464
    model = fits(detr.convert(state), "detreg/pretrain_imagenet_detr.py", left_out=["target_encoder"])
    assert torch.equal(model.embedding_head.layers[1].weight, state["feature_embed.layers.1.weight"])
    assert torch.equal(model.detector.class_embed[0].weight[0], state["class_embed.weight"][1])  # objectness


def test_up_detr(backbone):
    state = published_detr(backbone, pre_norm=True, classes=3)
    state |= layer("patch2query", DIM, 2048) | mlp("feature_align", DIM, DIM, 2048)
    assert len(state) == 466
    model = fits(detr.convert(state), "up_detr/pretrain_imagenet_detr.py")
    assert torch.equal(model.patch2query.weight, state["patch2query.weight"])
    assert torch.equal(model.detector.class_embed[0].bias[[0, 2]], state["class_embed.bias"][[1, 2]])


@pytest.mark.parametrize("pretrained", [False, True])
def test_deformable_detr(backbone, pretrained):
    state = published_deformable(backbone) | (mlp("feature_embed", DIM, DIM, 512) if pretrained else {})
    assert len(state) == (565 if pretrained else 561)
    converted = deformable_detr.convert(state)
    if pretrained:
        detector = fits(converted, "detreg/pretrain_coco.py", left_out=["target_encoder"]).detector
    else:
        detector = fits(converted, "detreg/finetune_coco_percent.py")
    assert torch.equal(detector.class_embed[0].weight[79], state["class_embed.0.weight"][90])
    reference = detector.transformer.queries.reference_points
    assert torch.equal(reference.weight, state["transformer.reference_points.weight"])
    assert torch.equal(detector.neck.input_proj[3][0].weight, state["input_proj.3.0.weight"])
    key = "transformer.decoder.layers.2.cross_attn.sampling_offsets.bias"
    assert torch.equal(detector.transformer.decoder.layers[2].cross_attn.sampling_offsets.bias, state[key])


@pytest.mark.parametrize("two_stage", [False, True], ids=["refined", "two stages"])
def test_refined_boxes_have_a_head_a_layer(backbone, two_stage):
    state = published_deformable(backbone, heads=6 + two_stage, refined=True, two_stage=two_stage)
    recipe = config.resolve("detreg/finetune_coco_percent.py").recipe["model"]
    transformer = copy.deepcopy(recipe["transformer"])
    transformer["refine"] = {"_target_": "repro.modeling.transformer.refine.EachLayer"}
    if two_stage:
        queries = "repro.modeling.transformer.two_stage.TwoStageQueries"
        transformer["queries"] = {"_target_": queries, "num_queries": 300, "embed_dim": DIM, "num_classes": 80}
    model = config.build({**recipe, "transformer": transformer})
    model.load_state_dict(deformable_detr.convert(state))
    assert torch.equal(model.bbox_embed[5].layers[0].weight, state["bbox_embed.5.layers.0.weight"])
    if two_stage:
        found = model.transformer.queries
        assert torch.equal(found.class_embed.bias[0], state["class_embed.6.bias"][1])
        assert torch.equal(found.pos_trans.weight, state["transformer.pos_trans.weight"])


def test_other_weights_are_refused():
    with pytest.raises(StageError, match=r"not weights of this family: roi_heads\.x"):
        detr.convert({"roi_heads.x": torch.zeros(1)})
    with pytest.raises(StageError, match="2 names"):
        deformable_detr.convert({"a": torch.zeros(1), "b": torch.zeros(1)})
