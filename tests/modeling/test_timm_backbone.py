"""timm's networks as backbones: the same maps as timm's own, in Detectron2's shape."""

import sys

import pytest
import timm
import torch
from detectron2.modeling.backbone.fpn import FPN

from repro.errors import InstallError
from repro.modeling import timm_backbone
from repro.modeling.timm_backbone import TimmBackbone

SWIN = {"img_size": 64, "strict_img_size": False, "embed_dim": 24, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 4)}
NETWORKS = {
    "resnet10t": {},
    "swin_tiny_patch4_window7_224": SWIN,
    "convnext_atto": {},
    "vit_tiny_patch16_224": {"dynamic_img_size": True, "dynamic_img_pad": True, "depth": 4},
}
FEATURES = {"vit_tiny_patch16_224": ["res4"]}


def randomised(net):
    """Statistics of normalisation that are not the initial ones."""
    for name, value in net.state_dict().items():
        if "running" in name:
            torch.nn.init.uniform_(value, 0.5, 1.5)
    return net


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_are_timms(name, tmp_path):
    """Whole network to file to backbone: maps equal those of timm's intermediate layers, whatever their layout."""
    torch.manual_seed(0)
    options = NETWORKS[name]
    whole = randomised(timm.create_model(name, **options)).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    features = FEATURES.get(name, ["res5", "res3"])
    weights = timm_backbone.read_weights(name, tmp_path / "whole.pth", options)
    backbone = TimmBackbone(name, features, options=options, weights=weights).eval()
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected = whole.forward_intermediates(images, intermediates_only=True)
        found = backbone(images)
    assert sorted(found) == sorted(features)
    shapes = backbone.output_shape()
    for feature, value in found.items():
        stride = 2 ** int(feature[-1])
        same = [one for one in expected if one.shape[-1] == 96 // stride][-1]
        torch.testing.assert_close(value, same, rtol=1e-4, atol=1e-4)
        assert (shapes[feature].channels, shapes[feature].stride) == (value.shape[1], stride)


def test_later_stages_are_not_built():
    names = {name.split(".")[1] for name in TimmBackbone("resnet10t", ["res3"]).state_dict()}
    assert names == {"conv1", "bn1", "layer1", "layer2"}


def test_a_feature_pyramid_takes_it():
    pyramid = FPN(TimmBackbone("swin_tiny_patch4_window7_224", ["res2", "res3"], options=SWIN), ["res2", "res3"], 8)
    maps = pyramid(torch.rand(1, 3, 64, 96))
    assert {name: tuple(one.shape[1:]) for name, one in maps.items()} == {"p2": (8, 16, 24), "p3": (8, 8, 12)}


def test_frozen_statistics_do_not_move_and_others_do():
    for norm, moves in (("FrozenBN", False), ("BN", True)):
        backbone = TimmBackbone("resnet10t", ["res3"], norm=norm).train()
        before = {name: value.clone() for name, value in backbone.state_dict().items()}
        backbone(torch.rand(2, 3, 64, 64))
        assert moves == any(not torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_freezing():
    backbone = TimmBackbone("resnet10t", ["res3"], freeze=["conv1.", "layer1."])
    frozen = {name.split(".")[1] for name, value in backbone.named_parameters() if not value.requires_grad}
    assert frozen == {"conv1", "layer1"}


@pytest.mark.parametrize("classes", [0, 7])
def test_classifiers_of_any_size_are_left_behind(classes, tmp_path):
    whole = timm.create_model("resnet10t", num_classes=classes)
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "own.pth")
    weights = timm_backbone.read_weights("resnet10t", tmp_path / "own.pth")
    backbone = TimmBackbone("resnet10t", ["res3"], weights=weights)
    assert torch.equal(backbone.net.layer2[0].conv1.weight, whole.layer2[0].conv1.weight)


def test_weights_that_fit_in_part_are_refused(tmp_path):
    """timm itself would load what fits, say nothing, and leave the rest random."""
    state = timm.create_model("resnet10t").state_dict()
    del state["layer2.0.conv1.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=r"(?s)not hold the weights of timm's resnet10t.*layer2.0.conv1.weight"):
        timm_backbone.read_weights("resnet10t", tmp_path / "part.pth")
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a checkpoint"):
        timm_backbone.read_weights("resnet10t", tmp_path / "broken.pth")


def test_where_weights_are():
    assert timm_backbone.address("resnet50.a1_in1k") == (
        "https://huggingface.co/timm/resnet50.a1_in1k/resolve/main/model.safetensors"
    )
    tagged = {name.split(".")[0] for name in timm.list_models(pretrained=True)}
    unpublished = next(name for name in timm.list_models("resnet*") if name not in tagged)
    with pytest.raises(ValueError, match="no published weights"):
        timm_backbone.address(unpublished)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"name": "resnet5O"}, "Did you mean resnet50"),
        ({"name": "resnet10t", "out_features": ["res9"]}, "this network has"),
        ({"name": "resnet10t", "norm": "GN"}, "norm is 'GN'"),
        ({"name": "resnet10t", "freeze": ["layer9."]}, "parameters begin with"),
    ],
    ids=str,
)
def test_what_does_not_exist_is_named(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        TimmBackbone(**settings)


def test_without_timm_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InstallError, match="pip install timm"):
        TimmBackbone("resnet10t")
