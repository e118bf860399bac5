import math

import pytest
import torch
import torch.nn.functional as F

from repro.modeling.class_losses import CrossEntropyLoss, FocalLoss, VarifocalLoss, wanted_scores
from repro.modeling.matching import Matches, Targets

# Two images: objects of class 1 and 0 at queries 0 and 2; none, with padding pointing at query 0.
TARGETS = Targets.pad([torch.tensor([1, 0]), torch.zeros(0, dtype=torch.long)], [torch.rand(2, 4), torch.zeros(0, 4)])
MATCHES = Matches(torch.tensor([[[0, 2], [0, 0]]]), torch.tensor([[[True, True], [False, False]]]))
BOXES = torch.zeros(1, 2, 3, 4)
COUNT = torch.tensor(2.0)


def test_cross_entropy_by_hand():
    """Odds 1 : 2 : 5 everywhere, the last is "no object": two objects, four queries without, each a tenth."""
    logits = torch.tensor([1.0, 2.0, 5.0]).log().expand(1, 2, 3, 3)
    found = CrossEntropyLoss(no_object_weight=0.1)(logits, BOXES, TARGETS, MATCHES, COUNT)
    expected = (math.log(8 / 2) + math.log(8) + 4 * 0.1 * math.log(8 / 5)) / (2 + 4 * 0.1)
    assert found.tolist() == pytest.approx([expected])


def test_cross_entropy_is_torchs_with_weights_layer_by_layer():
    logits = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    queries = torch.tensor([[[0, 2], [0, 0]], [[1, 0], [0, 0]]])
    matches = Matches(queries, MATCHES.matched.expand(2, -1, -1))
    found = CrossEntropyLoss(0.3)(logits, BOXES.expand(2, -1, -1, -1), TARGETS, matches, COUNT)
    weight = torch.tensor([1, 1, 1, 0.3])
    for layer, wanted in enumerate([[[1, 3, 0], [3, 3, 3]], [[0, 1, 3], [3, 3, 3]]]):
        expected = F.cross_entropy(logits[layer].flatten(0, 1), torch.tensor(wanted).flatten(), weight)
        torch.testing.assert_close(found[layer], expected)


def test_focal_by_hand():
    """All 12 probabilities are 1/2: two positives at a quarter, ten negatives at three quarters, over two objects."""
    found = FocalLoss()(torch.zeros(1, 2, 3, 2), BOXES, TARGETS, MATCHES, COUNT)
    assert found.tolist() == pytest.approx([(2 * 0.25 + 10 * 0.75) * 0.25 * math.log(2) / 2])


def test_scores_stand_at_the_objects_query_and_class():
    scores = torch.tensor([[[0.7, 0.2], [0.0, 0.0]]])
    found = wanted_scores(torch.zeros(1, 2, 3, 2), TARGETS, MATCHES, scores)
    expected = torch.zeros(1, 2, 3, 2)
    expected[0, 0, 0, 1], expected[0, 0, 2, 0] = 0.7, 0.2
    assert torch.equal(found, expected)


def varifocal_case(logits):
    """Query 0 is half the size of its object (IoU 1/2), query 2 meets its object, query 1 has none."""
    targets = Targets.pad([torch.tensor([1, 0])], [torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.2, 0.2, 0.2, 0.2]])])
    boxes = torch.tensor([[[[0.5, 0.5, 0.2, 0.4], [0.9, 0.9, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2]]]]).requires_grad_()
    matches = Matches(torch.tensor([[[0, 2]]]), torch.tensor([[[True, True]]]))
    return VarifocalLoss()(logits, boxes, targets, matches, COUNT), boxes


def test_varifocal_by_hand():
    """All probabilities are 0.2. Positives: q times cross-entropy against q; negatives: 0.75 p² times -log(1 - p)."""
    logits = torch.full((1, 1, 3, 2), math.log(0.2 / 0.8), requires_grad=True)
    found, boxes = varifocal_case(logits)
    half = 0.5 * -(0.5 * math.log(0.2) + 0.5 * math.log(0.8))
    whole = 1.0 * -math.log(0.2)
    negatives = 4 * 0.75 * 0.2**2 * -math.log(0.8)
    assert found.tolist() == pytest.approx([(half + whole + negatives) / 2])
    found.sum().backward()
    # Of binary cross-entropy the gradient is weight · (p - q); neither weights nor qualities pass any.
    negative = 0.75 * 0.2**2 * 0.2 / 2
    expected = [[negative, 0.5 * (0.2 - 0.5) / 2], [negative, negative], [(0.2 - 1) / 2, negative]]
    torch.testing.assert_close(logits.grad[0, 0], torch.tensor(expected))
    assert boxes.grad is None
