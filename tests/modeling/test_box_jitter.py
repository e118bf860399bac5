"""Box regression variance, worked by hand, and the jitter's spread."""

import pytest
import torch

from repro.errors import RecipeError
from repro.modeling.box_jitter import BoxJitter, NormalNoise, UniformNoise
from repro.modeling.pseudo_boxes import ByScore, ByVariance, PseudoBoxes

BOX = torch.tensor([[0.0, 0.0, 20.0, 60.0]])
# Two refined boxes: x1 differs by 2 and x2 by 6, so the standard deviations with n - 1 are √2 and 3·√2; y's are 0.
REFINED = torch.tensor([[[-1.0, 0, 10, 80]], [[1, 0, 16, 80]]])


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("refined_sides", 4 * 2**0.5 / 13 / 4),  # the mean refined box is 13 × 80
        ("mean_side", 4 * 2**0.5 / 40 / 4),  # Eq. 9: ½ (20 + 60) of the box itself
    ],
)
def test_variance_by_hand(unit, expected):
    assert BoxJitter(2, unit=unit).variance(BOX, REFINED).tolist() == pytest.approx([expected])


def test_heights_count_for_y():
    flat = torch.tensor([[[0.0, -1, 10, 80]], [[0, 1, 10, 80]]])
    assert BoxJitter(2).variance(BOX, flat).tolist() == pytest.approx([2**0.5 / 80 / 4])


def test_equal_answers_have_no_variance():
    assert BoxJitter(5).variance(BOX, BOX.expand(5, 1, 4)).tolist() == [0]


@pytest.mark.parametrize(("noise", "spread"), [(NormalNoise(0.06), 0.06), (UniformNoise(0.06), 0.06 / 3**0.5)])
def test_each_coordinate_moves_by_a_share_of_its_side(noise, spread):
    torch.manual_seed(0)
    moved = BoxJitter(4000, noise).jitter(BOX) - BOX
    sides = torch.tensor([20.0, 60, 20, 60])
    torch.testing.assert_close(moved.std(0)[0] / sides, torch.full((4,), spread), rtol=0.1, atol=0)
    assert moved.mean(0).abs().max() < 0.2
    assert torch.corrcoef(moved[:, 0].T).fill_diagonal_(0).abs().max() < 0.1  # each on its own
    if isinstance(noise, UniformNoise):
        assert (moved.abs() <= 0.06 * sides + 1e-5).all()


def test_a_box_of_no_size_moves_by_a_pixels_share():
    torch.manual_seed(0)
    moved = BoxJitter(1000).jitter(torch.zeros(1, 4))
    assert moved.std(0)[0].tolist() == pytest.approx([0.06] * 4, rel=0.15)


def test_what_cannot_be_is_refused():
    with pytest.raises(RecipeError, match="Did you mean mean_side"):
        BoxJitter(unit="mean_sides")
    with pytest.raises(RecipeError, match="num_jitters is 1"):
        BoxJitter(1)


def pseudo(count, score=0.6):
    boxes = torch.tensor([[10.0, 10, 30, 50]]).repeat(count, 1)
    return PseudoBoxes(boxes, torch.full((count,), score), torch.arange(count))


def test_all_images_are_refined_in_one_call_each_box_as_its_class():
    calls = []

    def refine(boxes, labels):
        calls.append(([len(entry) for entry in boxes], [entry.tolist() for entry in labels]))
        others = [torch.where(entry[:, None] == 1, 20 * torch.rand(len(entry), 4), 0) for entry in labels]
        return [box + other for box, other in zip(boxes, others, strict=True)]

    torch.manual_seed(0)
    chosen = ByVariance(0.5, BoxJitter(3, NormalNoise(0.0)))
    first, second, third = chosen.measured([pseudo(2), pseudo(0), pseudo(1)], refine)
    assert calls == [([6, 0, 3], [[0, 1, 0, 1, 0, 1], [], [0, 0, 0]])]
    assert first.variance[0] == 0 and first.variance[1] > 0.05 and third.variance.tolist() == [0]
    assert len(second.variance) == 0
    assert ByVariance(first.variance[1].item()).reliable(first).tolist() == [True, False]  # strictly below


def test_by_score_asks_nobody():
    (found,) = ByScore(0.9).measured([pseudo(1, 0.95)], lambda boxes, labels: pytest.fail("asked"))
    assert ByScore(0.9).reliable(found).item() and not ByScore(0.95).reliable(found).item()
    assert not ByScore(0.9).reliable(pseudo(1, 0.9)).item()  # strictly above


def test_boxes_without_area_are_left_out():
    boxes = PseudoBoxes(torch.tensor([[0.0, 0, 5, 5], [5, 5, 5, 9]]), torch.ones(2), torch.zeros(2, dtype=torch.long))
    assert len(boxes.kept(torch.ones(2, dtype=torch.bool)).scores) == 1
