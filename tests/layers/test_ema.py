import math

import pytest
import torch
from torch import nn

from repro.errors import RecipeError
from repro.layers.ema import Constant, Cosine, Ramp, Rising, averaged, move


def test_momentum_by_hand():
    assert Constant(0.999)(1) == Constant(0.999)(10**6) == 0.999
    ramp = Ramp(0.9999, 2000)
    assert ramp(2000) == pytest.approx(0.63206, abs=1e-5)  # RT-DETR's, as measured with the authors' code
    assert ramp(1) == pytest.approx(0.9999 / 2000, rel=1e-3) and ramp(10**6) == 0.9999
    cosine = Cosine(0.99, 100)
    assert [cosine(step) for step in (0, 50, 100, 200)] == pytest.approx([0.99, 0.995, 1, 1])
    assert cosine(25) == pytest.approx(1 - 0.01 * (math.cos(math.pi / 4) + 1) / 2)


def test_rising_momentum_by_hand():
    """Soft Teacher's: 0 before the first step, the cap from step 999 on."""
    rising = Rising(0.999)
    assert [rising(step) for step in (0, 1, 9, 998, 999, 10**6)] == pytest.approx(
        [0, 0.5, 0.9, 1 - 1 / 999, 0.999, 0.999]
    )
    assert Rising(0.999, warmup=2)(1) == pytest.approx(1 - 3 / 4)


def test_moving_by_hand():
    torch.manual_seed(0)
    average, model = nn.Linear(2, 3), nn.Linear(2, 3)
    before = average.weight.clone()
    move(average, model, 0.75)
    torch.testing.assert_close(average.weight, 0.75 * before + 0.25 * model.weight)
    move(average, model, 0.0)
    assert torch.equal(average.weight, model.weight) and torch.equal(average.bias, model.bias)


@pytest.mark.parametrize(("buffers", "mean", "count"), [("average", 2, 5), ("copy", 8, 5), ("keep", 0, 0)])
def test_buffers_of_what_is_moved(buffers, mean, count):
    average, model = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    model.running_mean.fill_(8)
    model.num_batches_tracked.fill_(5)
    move(average, model, 0.75, buffers)
    assert (average.running_mean.item(), average.num_batches_tracked.item()) == (mean, count)
    with pytest.raises(RecipeError, match="expected average, copy or keep"):
        move(average, model, 0.5, "drop")


def test_every_step_counts_the_first_too():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = averaged(model, lambda step: 1 / (step + 1))
    expected = 1.0
    for step, value in enumerate((5.0, -3.0, 2.0), 1):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        expected = expected / (step + 1) + value * step / (step + 1)
        assert average.module.weight.item() == pytest.approx(expected)
    assert not average.module.weight.requires_grad and model.weight.requires_grad


@pytest.mark.parametrize(("buffers", "mean"), [("average", 0.75 * 0 + 0.25 * 8), ("copy", 8)])
def test_buffers(buffers, mean):
    model = nn.BatchNorm1d(1)
    average = averaged(model, Constant(0.75), buffers)
    model.running_mean.fill_(8)
    average.update_parameters(model)
    assert average.module.running_mean.item() == mean
    with pytest.raises(RecipeError, match="average or copy"):
        averaged(model, Constant(0.5), "drop")


def test_a_saved_average_goes_on_at_its_step():
    torch.manual_seed(0)
    model = nn.Linear(2, 2, bias=False)

    def run(average, values):
        for value in values:
            model.weight.data.fill_(value)
            average.update_parameters(model)
        return average

    whole = run(averaged(model, Ramp(0.9, 3)), [1.0, 2.0, 3.0, 4.0])
    torch.manual_seed(0)
    first = run(averaged(nn.Linear(2, 2, bias=False), Ramp(0.9, 3)), [1.0, 2.0])
    second = averaged(model, Ramp(0.9, 3))
    second.load_state_dict(first.state_dict())
    assert torch.equal(run(second, [3.0, 4.0]).module.weight, whole.module.weight)
