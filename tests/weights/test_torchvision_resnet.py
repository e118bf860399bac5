"""Published ResNets under our names: the same numbers come out of torchvision's network and of ours."""

import pytest
import torch
import torchvision

from repro.modeling.backbone import resnet
from repro.modeling.projection import ProjectedEncoder
from repro.weights import swav, swav_projection, torchvision_resnet


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def res5_of(network, images):
    x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    return network.layer4(network.layer3(network.layer2(network.layer1(x))))


@pytest.mark.parametrize("family", ["torchvision", "swav"])
def test_converted_weights_fit_exactly_and_give_the_same_features(published, family):
    state = published.state_dict()
    if family == "swav":
        state = {f"module.{name}": value for name, value in state.items() if not name.startswith("fc.")}
        state["module.projection_head.0.weight"] = state["module.prototypes.weight"] = torch.zeros(1)
    converted = (swav if family == "swav" else torchvision_resnet).convert(state)
    ours = resnet(50, norm="FrozenBN").eval()
    ours.load_state_dict(converted, strict=True)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = res5_of(published, images)
        torch.testing.assert_close(ours(images)["res5"], expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_swavs_projection(published):
    """Targets of one crop are those of the network as published: averaged, projected, normalised."""
    torch.manual_seed(0)
    head = torch.nn.Sequential(
        torch.nn.Linear(2048, 2048), torch.nn.BatchNorm1d(2048), torch.nn.ReLU(), torch.nn.Linear(2048, 128)
    )
    head[1].running_mean.normal_(0, 0.1)
    state = {f"module.{name}": value for name, value in published.state_dict().items() if not name.startswith("fc.")}
    state |= {f"module.projection_head.{name}": value for name, value in head.state_dict().items()}
    state["module.prototypes.weight"] = torch.zeros(3000, 128)
    ours = ProjectedEncoder(resnet(50, out_features=["res5"])).eval()
    ours.load_state_dict(swav_projection.convert(state))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(head.eval()(res5_of(published, images).mean((2, 3))), dim=1)
        found = ours(images)["projection"]
    assert found.shape == (1, 128, 1, 1) and ours.output_shape()["projection"].channels == 128
    torch.testing.assert_close(found[:, :, 0, 0], expected, rtol=1e-4, atol=1e-5)
