"""Names of RT-DETR's published weights. `tests/meta_arch/test_rtdetr_parity.py` leads to transformers and back."""

import pytest
import torch

from repro.meta_arch.rtdetr import example
from repro.modeling.hybrid_encoder import HybridEncoder
from repro.modeling.presnet import PResNet
from repro.weights import presnet, rtdetr


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return example().state_dict()


def published(state, version=2):
    """As a file of the authors holds them: buffers too, in a nest."""
    named = rtdetr.to_published(state, version)
    buffers = {"decoder.anchors": torch.zeros(1, 84, 4), "decoder.valid_mask": torch.ones(1, 84, 1)}
    buffers |= {f"decoder.decoder.layers.{i}.cross_attn.num_points_scale": torch.ones(6) for i in range(2)}
    return named | buffers


@pytest.mark.parametrize("version", [1, 2])
def test_there_and_back(state, version):
    back = rtdetr.convert({"ema": {"module": published(state, version)}, "model": {"stale": torch.zeros(1)}})
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_the_weights_that_were_evaluated_are_taken(state):
    assert rtdetr.convert({"model": published(state)}).keys() == state.keys()
    assert rtdetr.convert(published(state)).keys() == state.keys()


def test_names_of_the_published_files(state):
    """Each kind of name that the files have, with the parameter that it is here."""
    expected = {
        "backbone.conv1.conv1_2.norm.running_var": "backbone.conv1.conv1_2.norm.running_var",
        "backbone.res_layers.0.blocks.0.short.conv.weight": "backbone.res_layers.0.blocks.0.short.conv.weight",
        "backbone.res_layers.3.blocks.0.short.conv.norm.bias": "backbone.res_layers.3.blocks.0.short.conv.norm.bias",
        "encoder.input_proj.0.conv.weight": "neck.input_proj.0.conv.weight",
        "encoder.encoder.0.layers.0.self_attn.in_proj_weight": "neck.aifi.self_attn.in_proj_weight",
        "encoder.pan_blocks.1.bottlenecks.2.conv1.conv.weight": "neck.pan_blocks.1.bottlenecks.2.conv1.conv.weight",
        "decoder.input_proj.2.norm.weight": "transformer.input_proj.2.norm.weight",
        "decoder.decoder.layers.1.norm1.weight": "transformer.decoder.layers.1.norm2.weight",
        "decoder.decoder.layers.1.norm2.weight": "transformer.decoder.layers.1.norm1.weight",
        "decoder.decoder.layers.0.cross_attn.sampling_offsets.bias": (
            "transformer.decoder.layers.0.cross_attn.sampling_offsets.bias"
        ),
        "decoder.query_pos_head.layers.1.weight": "transformer.query_position.query_pos_head.layers.1.weight",
        "decoder.enc_output.proj.weight": "transformer.queries.enc_output.proj.weight",
        "decoder.enc_bbox_head.layers.2.bias": "transformer.queries.enc_bbox_head.layers.2.bias",
        "decoder.denoising_class_embed.weight": "denoising_class_embed.weight",
        "decoder.dec_score_head.1.weight": "class_embed.1.weight",
        "decoder.dec_bbox_head.0.layers.0.weight": "bbox_embed.0.layers.0.weight",
    }
    names = published(state)
    for theirs, ours in expected.items():
        assert torch.equal(names[theirs], state[ours])
    old = published(state, version=1)
    assert {"encoder.input_proj.0.0.weight", "encoder.input_proj.0.1.bias", "decoder.enc_output.1.weight"} <= old.keys()


def test_counters_that_a_conversion_from_paddle_left_out(state):
    without = {name: value for name, value in published(state, 1).items() if not name.endswith("num_batches_tracked")}
    assert rtdetr.convert(without).keys() == state.keys()


def test_frozen_backbones_have_no_counters():
    backbone = PResNet(14, 8, freeze_norm=True)
    trained = PResNet(14, 8).state_dict()
    backbone.load_state_dict(presnet.convert(trained))
    neck = HybridEncoder(["res3"], [8], 8, 2, 8)
    file = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    file |= {f"encoder.{name}": value for name, value in neck.state_dict().items() if "tracked" not in name}
    found = rtdetr.convert(file)
    counters = [name for name in found if name.endswith("num_batches_tracked")]
    assert counters == ["neck.input_proj.0.norm.num_batches_tracked"]


def test_files_of_transformers_4(state):
    """Names on disk, where version 5 renames them when loading."""
    new = rtdetr.to_transformers(state)
    renames = [
        ("model.encoder.aifi.0.", "model.encoder.encoder.0."),
        (".self_attn.o_proj.", ".self_attn.out_proj."),
        (".mlp.fc", ".fc"),
    ]
    old = {}
    for name, value in new.items():
        for a, b in renames:
            name = name.replace(a, b)
        old[name] = value
    back = rtdetr.from_transformers(old)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state if not name.endswith("tracked"))


def test_heads_are_listed_twice_in_version_2(state):
    new = rtdetr.to_transformers(state)
    assert torch.equal(new["class_embed.1.weight"], new["model.decoder.class_embed.1.weight"])
    assert "class_embed.1.weight" not in rtdetr.to_transformers(state, version=1)
