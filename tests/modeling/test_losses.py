import math

import pytest
import torch

from repro.modeling.losses import box_giou_loss, box_l1_loss, focal_loss

MATCHED = torch.tensor([[[True, False]]])


def test_focal_by_hand():
    """Probability 1/2 everywhere: the positive counts alpha, the negative 1 - alpha, each times (1/2)^gamma log 2."""
    logits, wanted = torch.zeros(1, 1, 1, 2), torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    expected = (0.2 + 0.8) * 0.5**3 * math.log(2)
    assert focal_loss(logits, wanted, alpha=0.2, gamma=3.0).tolist() == pytest.approx([expected])
    only_positive = focal_loss(logits[..., :1], wanted[..., :1], alpha=0.2, gamma=3.0)
    assert only_positive.tolist() == pytest.approx([0.2 * 0.5**3 * math.log(2)])


def test_focal_falls_as_the_answer_gets_right():
    wanted = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    good, bad = torch.tensor([2.0, -2.0]).view(1, 1, 1, 2), torch.tensor([-2.0, 2.0]).view(1, 1, 1, 2)
    assert focal_loss(good, wanted, 0.25, 2.0) < focal_loss(bad, wanted, 0.25, 2.0)


def test_l1_by_hand_and_padding_does_not_count():
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [float("nan")] * 4]).view(1, 1, 2, 4)
    wanted = torch.tensor([[0.6, 0.4, 0.2, 0.5], [0.0] * 4]).view(1, 2, 4)
    assert box_l1_loss(boxes, wanted, MATCHED).tolist() == pytest.approx([0.1 + 0.1 + 0.3])


def test_giou_by_hand_and_padding_does_not_count():
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [float("nan")] * 4]).view(1, 1, 2, 4)
    wanted = torch.tensor([[0.6, 0.5, 0.2, 0.2], [0.0] * 4]).view(1, 2, 4)
    assert box_giou_loss(boxes, wanted, MATCHED).tolist() == pytest.approx([1 - 1 / 3])


def test_each_set_of_predictions_has_its_own_sum():
    boxes = torch.tensor([0.5, 0.5, 0.2, 0.2]).expand(2, 1, 1, 4) + torch.tensor([0.0, 0.1]).view(2, 1, 1, 1)
    wanted = torch.tensor([0.5, 0.5, 0.2, 0.2]).view(1, 1, 4)
    assert box_l1_loss(boxes, wanted, torch.ones(2, 1, 1, dtype=torch.bool)).tolist() == pytest.approx([0.0, 0.4])
