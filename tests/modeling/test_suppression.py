"""Soft-NMS against the paper's loop, box by box, and what is the same for both kinds."""

import math

import pytest
import torch
from torchvision.ops import box_iou, nms

from repro.modeling.suppression import HardNMS, SoftNMS, detections


def scene(seed, count=60, classes=4):
    """Crowded boxes; some scores are equal."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 40
    boxes = torch.cat([low, low + 5 + torch.rand(count, 2, generator=generator) * 30], dim=1)
    scores = (torch.rand(count, generator=generator) * 50).round() / 50
    return boxes, scores, torch.randint(classes, (count,), generator=generator)


def by_the_paper(boxes, scores, factor, min_score):
    """Fig. 2 of Bodla et al. for one class: numbers and scores of what is kept, in the order of keeping."""
    boxes, left, kept = boxes.tolist(), dict(enumerate(scores.tolist())), []
    while left:
        best = max(left, key=left.get)
        score = left.pop(best)
        if score < min_score:
            break
        kept.append((best, score))
        for other in left:
            iou = box_iou(torch.tensor([boxes[best]]), torch.tensor([boxes[other]])).item()
            left[other] *= factor(iou)
    return kept


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({"method": "linear", "iou": 0.3}, lambda iou: 1 - iou if iou > 0.3 else 1.0),
        ({"method": "gaussian", "sigma": 0.4}, lambda iou: math.exp(-(iou**2) / 0.4)),
    ],
    ids=["linear", "gaussian"],
)
def test_every_class_goes_through_the_papers_loop(seed, settings, factor):
    boxes, scores, classes = scene(seed)
    kept, found = SoftNMS(**settings, min_score=0.05)(boxes, scores, classes)
    assert torch.equal(found, found.sort(descending=True).values)
    for label in classes.unique():
        of_class = (classes == label).nonzero().flatten()
        expected = by_the_paper(boxes[of_class], scores[of_class], factor, 0.05)
        ours = {
            int(number): float(score) for number, score in zip(kept, found, strict=True) if classes[number] == label
        }
        assert ours == pytest.approx({int(of_class[number]): score for number, score in expected}, abs=1e-5)
    assert 0 < len(kept) < len(boxes)


def test_a_better_copy_leaves_nothing_of_a_box():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
    kept, scores = SoftNMS("linear")(boxes, torch.tensor([0.8, 0.9, 0.1]), torch.zeros(3, dtype=torch.long))
    assert kept.tolist() == [1, 2] and scores.tolist() == pytest.approx([0.9, 0.1])


def test_classes_do_not_compete():
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(2, 1)
    for suppress in (HardNMS(), SoftNMS("linear"), SoftNMS("gaussian")):
        kept, scores = suppress(boxes, torch.tensor([0.5, 0.6]), torch.tensor([0, 7]))
        assert kept.tolist() == [1, 0] and scores.tolist() == pytest.approx([0.6, 0.5])


def test_hard_suppression_is_torchvisions():
    boxes, scores, classes = scene(0, classes=1)
    assert torch.equal(HardNMS(0.4)(boxes, scores, classes)[0], nms(boxes, scores, 0.4))


@pytest.mark.parametrize("suppress", [HardNMS(), SoftNMS()], ids=["hard", "soft"])
def test_nothing_in_nothing_out(suppress):
    kept, scores = suppress(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    assert len(kept) == len(scores) == 0


def test_a_region_may_be_found_as_several_classes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [30, 30, 40, 40]])
    probabilities = torch.tensor([[0.6, 0.3], [0.05, 0.9]])
    region, scores, label = detections(boxes, probabilities, HardNMS(), score_threshold=0.05, topk=100)
    assert region.tolist() == [1, 0, 0] and label.tolist() == [1, 0, 1]
    assert scores.tolist() == pytest.approx([0.9, 0.6, 0.3])
    assert len(detections(boxes, probabilities, HardNMS(), 0.05, topk=2)[0]) == 2


def test_unknown_method():
    with pytest.raises(ValueError, match="expected one of"):
        SoftNMS("hard")
