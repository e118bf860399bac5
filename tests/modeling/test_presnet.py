import pytest
import torch
from torch import nn

from repro.modeling.presnet import PResNet


def test_strides_and_channels():
    features = PResNet(18).eval()(torch.rand(1, 3, 64, 96))
    assert {name: tuple(x.shape[1:]) for name, x in features.items()} == {
        "res3": (128, 8, 12),
        "res4": (256, 4, 6),
        "res5": (512, 2, 3),
    }


def test_shortcuts():
    """A convolution in the first stage even where channels stay, an average before the convolution where it shrinks."""
    stages = PResNet(18).res_layers
    assert stages[0].blocks[0].short.conv.kernel_size == (1, 1)
    assert isinstance(stages[0].blocks[1].short, nn.Identity)
    assert stages[1].blocks[0].short.pool.ceil_mode and stages[1].blocks[0].short.conv.conv.stride == (1, 1)


@pytest.mark.parametrize(("depth", "striding"), [(18, "branch2a"), (50, "branch2b")])
def test_a_three_by_three_convolution_strides(depth, striding):
    with torch.device("meta"):
        block = PResNet(depth).res_layers[2].blocks[0]
    strides = {name: layer.conv.stride[0] for name, layer in block.named_children() if name.startswith("branch")}
    assert strides == {name: 2 if name == striding else 1 for name in strides}


def test_freezing():
    assert all(parameter.requires_grad for parameter in PResNet(10, 8, freeze_at=-1).parameters())
    stem = PResNet(10, 8, freeze_at=0, freeze_norm=True)
    assert {name.split(".")[0] for name, p in stem.named_parameters() if not p.requires_grad} == {"conv1"}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in stem.modules())
    first = PResNet(10, 8, freeze_at=1)
    assert not any(p.requires_grad for p in first.res_layers[0].parameters())
    assert all(p.requires_grad for p in first.res_layers[1].parameters())


def test_frozen_statistics_do_not_move():
    model = PResNet(10, 8, freeze_norm=True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("settings", [{"depth": 19}, {"depth": 18, "out_features": ["res6"]}], ids=str)
def test_what_does_not_exist_is_named(settings):
    with pytest.raises(ValueError, match="expected"):
        PResNet(**settings)
