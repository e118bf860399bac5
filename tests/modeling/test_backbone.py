import re

import pytest
import torch
import torchvision

from repro.modeling.backbone import resnet
from repro.weights import torchvision_resnet


def detectron2_names(state):
    """torchvision's names to Detectron2's."""
    renamed = {}
    for name, value in state.items():
        if name.startswith("fc.") or name.endswith("num_batches_tracked"):
            continue
        name = re.sub(r"^(conv1|bn1)", r"stem.\1", name)
        name = re.sub(r"^layer(\d)", lambda match: f"res{int(match[1]) + 1}", name)
        name = re.sub(r"bn(\d)", r"conv\1.norm", name)
        renamed[name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")] = value
    return renamed


@pytest.mark.parametrize("depth", [18, 50])
def test_same_network_as_torchvisions(depth):
    torch.manual_seed(0)
    reference = getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()
    for module in reference.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    model = resnet(depth)
    model.load_state_dict(detectron2_names(reference.state_dict()))
    image = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(image))))
        x = reference.layer1(x)
        features = model(image)
        for name, layer in [("res3", reference.layer2), ("res4", reference.layer3), ("res5", reference.layer4)]:
            x = layer(x)
            torch.testing.assert_close(features[name], x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("depth", "channels"), [(10, [8, 16, 32, 64]), (14, [32, 64, 128, 256])])
def test_narrow_and_shallow(depth, channels):
    names = ["res2", "res3", "res4", "res5"]
    model = resnet(depth, width=8, out_features=names)
    features = model(torch.rand(1, 3, 64, 96))
    assert [tuple(features[name].shape[1:]) for name in names] == [
        (count, 16 // 2**index, 24 // 2**index) for index, count in enumerate(channels)
    ]
    assert [model.output_shape()[name].channels for name in names] == channels


def test_stages_beyond_the_last_feature_are_not_built():
    names = {name.split(".")[0] for name in resnet(10, width=8, out_features=["res3"]).state_dict()}
    assert names == {"stem", "res2", "res3"}


@pytest.mark.parametrize(("freeze_at", "frozen"), [(0, set()), (1, {"stem"}), (2, {"stem", "res2"})])
def test_freezing(freeze_at, frozen):
    model = resnet(10, width=8, norm="BN", freeze_at=freeze_at)
    assert {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad} == frozen


def test_unknown_depths_and_features():
    with pytest.raises(ValueError, match="depth is 12"):
        resnet(12)
    with pytest.raises(ValueError, match="layer4"):
        resnet(18, out_features=["layer4"])


def test_dilated_res5_is_torchvisions():
    """The published DC5: res4's resolution, and dilation 2 in all 3×3 convolutions of res5 but the first."""
    torch.manual_seed(0)
    published = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, False, True]).eval()
    ours = resnet(50, out_features=["res5"], dilate_res5=True).eval()
    ours.load_state_dict(torchvision_resnet.convert(published.state_dict()))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        x = published.maxpool(published.relu(published.bn1(published.conv1(images))))
        expected = published.layer4(published.layer3(published.layer2(published.layer1(x))))
        found = ours(images)["res5"]
    assert found.shape == (1, 2048, 4, 4)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_basic_blocks_are_not_dilated():
    with pytest.raises(ValueError, match="dilate_res5 needs bottlenecks"):
        resnet(18, dilate_res5=True)
