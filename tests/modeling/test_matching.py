import itertools

import pytest
import torch

from repro.modeling.matching import HungarianMatcher, Targets

COUNTS = (3, 0, 2)


@pytest.fixture
def case():
    """Two decoder layers, three images with 3, 0 and 2 objects, five queries, four classes."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 4, generator=generator)
    boxes = torch.rand(2, 3, 5, 4, generator=generator) * 0.4 + 0.2
    labels = [torch.randint(4, (count,), generator=generator) for count in COUNTS]
    wanted = [torch.rand(count, 4, generator=generator) * 0.4 + 0.2 for count in COUNTS]
    return logits, boxes, Targets.pad(labels, wanted)


def test_targets_are_padded_to_the_largest_image(case):
    _, _, targets = case
    assert targets.labels.shape == (3, 3) and targets.boxes_cxcywh_rel.shape == (3, 3, 4)
    assert targets.counts == COUNTS


def test_best_of_all_assignments(case):
    matcher = HungarianMatcher()
    cost, matches = matcher.cost(*case), matcher(*case)
    for layer, (image, count) in itertools.product(range(2), enumerate(COUNTS)):
        found = cost[layer, image, matches.query[layer, image, :count], torch.arange(count)].sum().item()
        every = [
            sum(cost[layer, image, query, index].item() for index, query in enumerate(queries))
            for queries in itertools.permutations(range(5), count)
        ]
        assert found == pytest.approx(min(every))
        assert matches.matched[layer, image].tolist() == [True] * count + [False] * (3 - count)


def test_cost_by_hand():
    """One query at class probability 1/2, a box one tenth beside the object's; each cost term on its own."""
    logits, boxes = torch.zeros(1, 1, 1, 2), torch.tensor([0.5, 0.5, 0.2, 0.2]).view(1, 1, 1, 4)
    targets = Targets.pad([torch.tensor([1])], [torch.tensor([[0.6, 0.5, 0.2, 0.2]])])
    log2 = torch.tensor(2.0).log().item()
    focal = (0.25 - 0.75) * 0.25 * log2  # what the positive costs, less what the negative would have cost
    distance = 0.1
    giou = 1 / 3  # overlap 0.02, union 0.06, and the hull is the union
    for weights, expected in [
        ((1, 0, 0), focal),
        ((0, 1, 0), distance),
        ((0, 0, 1), -giou),
        ((2, 5, 2), 2 * focal + 5 * distance - 2 * giou),
    ]:
        assert HungarianMatcher(*map(float, weights)).cost(logits, boxes, targets).item() == pytest.approx(expected)


def test_more_objects_than_queries(case):
    logits, boxes, targets = case
    matches = HungarianMatcher()(logits[:, :, :2], boxes[:, :, :2], targets)
    assert matches.matched.sum(-1).tolist() == [[2, 0, 2], [2, 0, 2]]
    for layer in range(2):
        assert sorted(matches.query[layer, 0][matches.matched[layer, 0]].tolist()) == [0, 1]


def test_a_batch_without_objects():
    targets = Targets.pad([torch.zeros(0, dtype=torch.long)] * 2, [torch.zeros(0, 4)] * 2)
    matches = HungarianMatcher()(torch.zeros(3, 2, 5, 4), torch.rand(3, 2, 5, 4), targets)
    assert matches.query.shape == (3, 2, 0)


def test_diverged_predictions_are_left_to_the_losses(case):
    logits, boxes, targets = case
    logits[0, 0], boxes[0, 2] = float("nan"), float("inf")
    assert HungarianMatcher()(logits, boxes, targets).matched[0].sum() == sum(COUNTS)


def test_one_transfer_to_the_host(case, monkeypatch):
    calls = []
    original = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: calls.append(self.shape) or original(self))
    HungarianMatcher()(*case)
    assert calls == [(2, 3, 5, 3)]
