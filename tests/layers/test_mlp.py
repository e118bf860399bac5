import torch

from repro.layers.mlp import MLP


def test_relu_between_layers_and_not_after_the_last():
    mlp = MLP(1, 1, 1, num_layers=2)
    with torch.no_grad():
        for layer, weight in zip(mlp.layers, (1.0, -1.0), strict=True):
            layer.weight.fill_(weight)
            layer.bias.zero_()
    assert mlp(torch.tensor([[-2.0], [3.0]])).flatten().tolist() == [0.0, -3.0]


def test_sizes():
    mlp = MLP(4, 8, 2, num_layers=3)
    assert [tuple(layer.weight.shape) for layer in mlp.layers] == [(8, 4), (8, 8), (2, 8)]
