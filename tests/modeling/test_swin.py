"""Swin against `transformers`' with the same random weights, on maps that its windows do not divide."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from transformers import SwinBackbone, SwinConfig

from repro.modeling.swin import Swin
from repro.weights.swin import convert

SIZES = {"embed_dim": 12, "depths": (1, 2, 2, 2), "num_heads": (1, 2, 2, 4)}
LEVELS = ("res2", "res3", "res4", "res5")


def reference(window):
    torch.manual_seed(0)
    config = SwinConfig(
        image_size=224,
        embed_dim=SIZES["embed_dim"],
        depths=list(SIZES["depths"]),
        num_heads=list(SIZES["num_heads"]),
        window_size=window,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    model = SwinBackbone(config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def as_published(state):
    """`transformers`' names as those that Swin's authors published, with query, key and value in one matrix."""
    found = {}
    for name, value in state.items():
        name = name.removeprefix("swin.").replace("embeddings.patch_embeddings.projection", "patch_embed.proj")
        name = name.replace("embeddings.norm", "patch_embed.norm").replace("encoder.layers.", "layers.")
        name = name.replace("layernorm_before", "norm1").replace("layernorm_after", "norm2")
        name = name.replace("attention.o_proj", "attn.proj").replace("attention.", "attn.")
        name = name.replace("attn.relative_position_bias.", "attn.").replace("layernorm.", "norm.")
        name = name.replace("intermediate.dense", "mlp.fc1").replace("output.dense", "mlp.fc2")
        found[name] = value
    for name in [name for name in found if ".attn.q_proj." in name]:
        parts = [found.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        found[name.replace("q_proj", "qkv")] = torch.cat(parts)
    return found


@pytest.mark.parametrize(("window", "size"), [(7, (96, 160)), (7, (224, 448)), (4, (64, 96))])
def test_maps_are_those_of_transformers(window, size):
    theirs = reference(window)
    ours = Swin(**SIZES, window_size=window).double().eval()
    state = as_published(theirs.state_dict())
    norms = {
        re.sub(r"hidden_states_norms.stage(\d)", lambda found: f"norms.res{int(found[1]) + 1}", name): value
        for name, value in state.items()
        if "hidden_states" in name
    }
    body = {name: value for name, value in state.items() if "hidden_states" not in name}
    ours.load_state_dict(convert(body) | norms)
    images = torch.rand(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        expected, found = theirs(images).feature_maps, ours(images)
    assert list(found) == list(LEVELS)
    for value, other in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-9)


def test_the_shift_comes_after_the_padding():
    """What stands at the upper edge does not reach the lower one. In timm's own order it does."""
    torch.manual_seed(0)
    ours = Swin(**{**SIZES, "depths": (2, 1, 1, 1)}, out_features=["res2"], out_norms=False).eval()
    images = torch.rand(1, 3, 96, 96)
    changed = images.clone()
    changed[:, :, :4] += 1
    with torch.no_grad():
        difference = (ours(images)["res2"] - ours(changed)["res2"]).abs().amax((0, 1, 3))
    assert difference[0] > 1e-4 and difference[12:].max() == 0


def test_global_attention_joins_all_places():
    torch.manual_seed(0)
    ours = Swin(**SIZES, window_size=2, global_attention=True).eval()
    plain = copy.deepcopy(ours)
    plain.global_attention = None
    images = torch.rand(1, 3, 256, 256)
    changed = images.clone()
    changed[:, :, :32, :32] = 0
    with torch.no_grad():
        alone = (plain(images)["res5"] - plain(changed)["res5"]).abs().amax(1)[0]
        joined = (ours(images)["res5"] - ours(changed)["res5"]).abs().amax(1)[0]
    assert alone[-1, -1] == 0 and joined[-1, -1] > 0


def test_published_weights_fill_the_backbone():
    ours = Swin(**SIZES, out_norms=False)
    given = {name.removeprefix("body.net.").replace("layers_", "layers."): v for name, v in ours.state_dict().items()}
    published = {
        name.replace(f"layers.{stage + 1}.downsample", f"layers.{stage}.downsample"): value
        for name, value in given.items()
        for stage in [int(name.split(".")[1]) - 1 if "downsample" in name else 0]
    }
    extra = [
        "head.weight",
        "norm.bias",
        "layers.0.blocks.0.attn.relative_position_index",
        "layers.0.blocks.1.attn_mask",
    ]
    converted = convert(published | dict.fromkeys(extra, torch.zeros(1)))
    assert converted.keys() == ours.state_dict().keys()
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in converted.items())


def test_gradients_are_the_same_when_blocks_are_computed_again():
    gradients = []
    for again in (False, True):
        torch.manual_seed(0)
        model = Swin(**SIZES, drop_path_rate=0.0, grad_checkpointing=again).train()
        sum(value.square().mean() for value in model(torch.rand(1, 3, 64, 96)).values()).backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name], msg=name)
