"""Information flow between mask heads, on maps of one pixel where it can be followed by hand."""

import math

import pytest
import torch

from repro.modeling.htc import MaskHeads
from repro.modeling.htc.mask_heads import mask_loss

CONV, FLOW = (2.0, 3.0, 5.0), (None, 7.0, 11.0)  # factor of each head's convolution, and of what it takes over


@pytest.fixture
def heads():
    """Each head multiplies by one factor; logits are what comes out of it, for both classes."""
    built = MaskHeads(3, num_classes=2, channels=1, num_convs=1)
    for head, conv, flow in zip(built.heads, CONV, FLOW, strict=True):
        torch.nn.init.zeros_(head.convs[0].weight)
        head.convs[0].weight.data[:, :, 1, 1] = conv
        for layer, value in ((head.deconv, 1.0), (head.predictor, 1.0), (head.conv_res, flow)):
            if layer is not None:
                torch.nn.init.constant_(layer.weight, value)
                torch.nn.init.zeros_(layer.bias)
    return built


def expected(x):
    """Last maps of the three heads for a positive x."""
    first = 2 * x
    second = 3 * (x + 7 * first)
    return [first, second, 5 * (x + 11 * second)]


def test_each_head_takes_over_what_the_one_before_saw(heads):
    x = torch.full((1, 1, 1, 1), 0.5)
    for stage, value in enumerate(expected(0.5)):
        logits = heads(x, stage)
        assert logits.shape == (1, 2, 2, 2)
        torch.testing.assert_close(logits, torch.full_like(logits, value))


def test_a_stage_teaches_the_heads_before_it_and_not_those_after(heads):
    heads(torch.ones(1, 1, 1, 1), stage=1).sum().backward()
    assert heads.heads[0].convs[0].weight.grad.abs().sum() > 0
    assert heads.heads[0].predictor.weight.grad is None  # only its last map before the upsampling goes on
    assert heads.heads[2].convs[0].weight.grad is None


def test_probabilities_are_averaged_over_the_stages(heads):
    found = heads.probabilities(torch.full((1, 1, 1, 1), 0.01), torch.tensor([1]))
    mean = sum(1 / (1 + math.exp(-value)) for value in expected(0.01)) / 3
    torch.testing.assert_close(found, torch.full((1, 2, 2), mean))


def test_the_loss_reads_the_mask_of_the_class():
    logits = torch.tensor([[2.0, -1.0], [0.0, 4.0]]).reshape(2, 2, 1, 1)
    classes, targets = torch.tensor([1, 0]), torch.tensor([1.0, 0.0]).reshape(2, 1, 1)
    by_hand = (math.log(1 + math.exp(1.0)) + math.log(2)) / 2
    assert mask_loss(logits, classes, targets).item() == pytest.approx(by_hand)
    valid = torch.tensor([True, False]).reshape(2, 1, 1)
    assert mask_loss(logits, classes, targets, valid).item() == pytest.approx(math.log(1 + math.exp(1.0)))


def test_no_regions_no_loss_but_a_graph(heads):
    logits = heads(torch.zeros(0, 1, 1, 1), stage=2)
    loss = mask_loss(logits, torch.zeros(0, dtype=torch.long), torch.zeros(0, 2, 2))
    loss.backward()
    assert loss == 0
    assert heads.heads[2].predictor.weight.grad is not None
