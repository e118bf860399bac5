import math

import pytest
import torch
import torch.distributed as dist

from repro.modeling.criterion import Predictions, SetCriterion, number_of_objects
from repro.modeling.matching import HungarianMatcher, Targets

BOXES = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.9, 0.9, 0.1, 0.1]])


def predictions(logits=None, layers=1):
    logits = torch.zeros(layers, 1, 2, 3) if logits is None else logits
    boxes = BOXES.expand(layers, 1, 2, 4).clone()
    return Predictions(logits.requires_grad_(), boxes.requires_grad_(), torch.zeros(layers, 1, 2, 8))


def targets(*boxes):
    return Targets.pad([torch.full((len(boxes),), 1)], [torch.tensor(boxes).view(-1, 4)])


def test_losses_by_hand():
    """Query 0 is a tenth beside the only object, query 1 far away; all six class probabilities are 1/2."""
    losses, matches = SetCriterion(HungarianMatcher())(predictions(), targets([0.6, 0.5, 0.2, 0.2]))
    assert matches.query.tolist() == [[[0]]]
    assert losses["loss_ce"].item() == pytest.approx(2 * (0.25 + 5 * 0.75) * 0.25 * math.log(2))
    assert losses["loss_bbox"].item() == pytest.approx(5 * 0.1)
    assert losses["loss_giou"].item() == pytest.approx(2 * (1 - 1 / 3))


def test_the_positive_is_the_matched_query_and_the_objects_class():
    logits = torch.zeros(1, 1, 2, 3)
    output = predictions(logits)
    losses, _ = SetCriterion(HungarianMatcher())(output, targets([0.6, 0.5, 0.2, 0.2]))
    losses["loss_ce"].backward()
    rising = output.logits.grad[0, 0] < 0  # a step downhill raises these logits
    assert rising.nonzero().tolist() == [[0, 1]]


def test_losses_are_divided_by_the_number_of_objects():
    one, _ = SetCriterion(HungarianMatcher())(predictions(), targets([0.6, 0.5, 0.2, 0.2]))
    two, _ = SetCriterion(HungarianMatcher())(predictions(), targets([0.6, 0.5, 0.2, 0.2], [0.9, 0.9, 0.1, 0.1]))
    assert two["loss_bbox"].item() == pytest.approx(one["loss_bbox"].item() / 2)  # the second is met exactly
    assert two["loss_giou"].item() == pytest.approx(one["loss_giou"].item() / 2)


def test_every_layer_is_matched_on_its_own():
    output = predictions(layers=2)
    swapped = torch.stack([output.boxes_cxcywh_rel[0], output.boxes_cxcywh_rel[1].flip(1)])
    output = output._replace(boxes_cxcywh_rel=swapped)
    losses, matches = SetCriterion(HungarianMatcher())(output, targets([0.6, 0.5, 0.2, 0.2]))
    assert matches.query.flatten().tolist() == [0, 1]
    assert set(losses) == {f"loss_{kind}{layer}" for kind in ("ce", "bbox", "giou") for layer in ("", "_0")}
    for kind in ("ce", "bbox", "giou"):
        assert losses[f"loss_{kind}"].item() == pytest.approx(losses[f"loss_{kind}_0"].item())


def test_a_batch_without_objects_trains_the_classes_only():
    output = predictions()
    losses, _ = SetCriterion(HungarianMatcher())(output, targets())
    assert losses["loss_bbox"].item() == 0 and losses["loss_giou"].item() == 0
    sum(losses.values()).backward()
    assert output.boxes_cxcywh_rel.grad.abs().sum() == 0  # connected, so that every process has the same gradients
    assert (output.logits.grad > 0).all()


def test_the_count_is_the_mean_over_processes(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.add_(10.0))  # the other three hold ten together
    assert number_of_objects(targets(*[[0.5] * 4] * 2), torch.device("cpu")).item() == 3.0


def test_the_count_is_at_least_one():
    assert number_of_objects(targets(), torch.device("cpu")).item() == 1.0
