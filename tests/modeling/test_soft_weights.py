"""The weighting by hand, in both forms, and every indicator."""

import pytest
import torch

from repro.errors import RecipeError
from repro.modeling.soft_weights import Evidence, PerImageLosses, PooledLosses, indicator

# Two images. In the first a foreground box (loss 1) and two of background (2, 4; reliable by 0.5 and 0.25),
# in the second one of background (8; 0.75).
LOSSES = [torch.tensor([1.0, 2.0, 4.0]), torch.tensor([8.0])]
RELIABLE = [torch.tensor([0.1, 0.5, 0.25]), torch.tensor([0.75])]
FOREGROUND = [torch.tensor([True, False, False]), torch.tensor([False])]


def test_released_weighting_by_hand():
    found = PooledLosses().classification(LOSSES, RELIABLE, FOREGROUND)
    assert found.item() == pytest.approx((1 * 1 + 0.5 * 2 + 0.25 * 4 + 0.75 * 8) / (1 + 0.5 + 0.25 + 0.75))


def test_weights_that_hardly_count_are_not_blown_up():
    few = [torch.tensor([0.1]), torch.tensor([0.2])]
    found = PooledLosses().classification([torch.tensor([2.0]), torch.tensor([4.0])], few, [torch.tensor([False])] * 2)
    assert found.item() == pytest.approx(0.1 * 2 + 0.2 * 4)  # divided by 1, not by 0.3


def test_the_papers_weighting_by_hand():
    found = PerImageLosses().classification(LOSSES, RELIABLE, FOREGROUND)
    first = 1 + (0.5 * 2 + 0.25 * 4) / 0.75
    assert found.item() == pytest.approx((first + 8) / 2)


def test_the_papers_weighting_without_foreground_or_reliable_background():
    nothing = [torch.tensor([0.0])]
    assert PerImageLosses().classification([torch.tensor([3.0])], nothing, [torch.tensor([False])]).item() == 0
    assert PerImageLosses().classification([torch.tensor([3.0])], nothing, [torch.tensor([True])]).item() == 3


def test_regression_by_hand():
    sums, foreground, sampled = torch.tensor([6.0, 0.0]), torch.tensor([3.0, 0.0]), torch.tensor([8.0, 4.0])
    assert PooledLosses().regression(sums, foreground, sampled).item() == pytest.approx(6 / 12)
    assert PerImageLosses().regression(sums, foreground, sampled).item() == pytest.approx((6 / 3 + 0) / 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", [1, 1]),
        ("BG-T", [0.9, 0.2]),
        ("BG-S", [0.6, 0.5]),
        ("Pred-Diff", [0.7, 0.7]),
        ("IoU", [0.0, 0.3]),
        ("Reverse-IoU", [1.0, 0.7]),
    ],
)
def test_indicators_by_hand(name, expected):
    found = Evidence(torch.tensor([0.9, 0.2]), torch.tensor([0.6, 0.5]), torch.tensor([0.0, 0.3]))
    assert indicator(name)(found).tolist() == pytest.approx(expected)


def test_an_unknown_indicator_is_refused():
    with pytest.raises(RecipeError, match="Did you mean BG-T"):
        indicator("BG_T")
