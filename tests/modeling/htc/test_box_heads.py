"""Losses of a cascade's box heads by hand, what a stage is trained on, and the semantic branch's loss."""

import math

import pytest
import torch
from detectron2.layers import ShapeSpec
from torchvision.ops import generalized_box_iou

from repro.modeling.htc import BoxHeads, SemanticHead, StageSampler
from repro.modeling.htc.box_heads import mean_logits

SHAPE = ShapeSpec(channels=1, height=2, width=2)
BOXES = torch.tensor([[0.0, 0, 10, 20], [0, 0, 10, 10]])
TRUTH = torch.tensor([[1.0, 0, 11, 20], [50, 50, 60, 60]])  # the first is off by a tenth of its width


def heads(**settings):
    return BoxHeads(2, SHAPE, fc_dims=[4], **settings)


@pytest.mark.parametrize(("stage", "target"), [(0, 1.0), (1, 2.0), (2, 0.1 / 0.033)])
def test_each_stage_measures_deltas_by_its_own_deviation(stage, target):
    loss = heads().regression_loss(torch.zeros(2, 4), BOXES, TRUTH, torch.tensor([0, 2]), stage)
    assert loss.item() == pytest.approx(
        (target - 0.5) / 2
    )  # smooth L1 beyond β = 1; two regions, one of them background
    there = torch.tensor([[target, 0, 0, 0]]).repeat(2, 1)
    torch.testing.assert_close(heads().decode(there, BOXES, stage)[0], TRUTH[0])


def test_giou_of_the_refined_boxes():
    loss = heads(box_loss="giou", box_weight=10.0).regression_loss(
        torch.zeros(2, 4), BOXES, TRUTH, torch.tensor([1, 2]), stage=0
    )
    assert loss.item() == pytest.approx(10 * (1 - generalized_box_iou(BOXES[:1], TRUTH[:1]).item()) / 2, rel=1e-5)


def test_classes_by_hand():
    logits, classes = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]), torch.tensor([0, 2])
    first, second = -math.log(math.e / (math.e + 2)), -math.log(math.e**2 / (math.e**2 + 2))
    assert heads().classification_loss(logits, classes).item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_logits_are_averaged_before_the_softmax():
    stages = [torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 3.0]]), torch.tensor([[0.0, 0.0]])]
    found = mean_logits(stages).softmax(-1)
    torch.testing.assert_close(found, torch.tensor([[3.0, 1.0]]).softmax(-1))
    assert not torch.allclose(found, torch.stack([each.softmax(-1) for each in stages]).mean(0), atol=0.1)


def test_four_convolutions_and_one_layer():
    built = heads(conv_dims=[3, 3, 3, 3], conv_norm="BN")
    logits, deltas = built(torch.rand(5, 1, 2, 2), stage=2)
    assert logits.shape == (5, 3) and deltas.shape == (5, 4)
    assert sum(isinstance(module, torch.nn.BatchNorm2d) for module in built.heads[0].modules()) == 4


def test_unknown_loss():
    with pytest.raises(ValueError, match="box_loss"):
        heads(box_loss="l1")


def test_later_stages_ask_for_more_overlap():
    sampler = StageSampler(num_classes=2, positive_fraction=1.0)
    truth, classes = torch.tensor([[0.0, 0, 100, 100]]), torch.tensor([1])
    boxes = torch.tensor([[0.0, 0, 100, 55], [0, 0, 100, 65], [0, 0, 100, 75], [200, 200, 300, 300]])
    for stage, expected in enumerate([[1, 1, 1, 2], [2, 1, 1, 2], [2, 2, 1, 2]]):
        drawn = sampler(boxes, truth, classes, stage)
        assert drawn.is_truth.sum() == 1 and drawn.classes[drawn.is_truth].tolist() == [1]
        given = {tuple(box.tolist()): int(label) for box, label in zip(*drawn[:2], strict=True)}
        assert [given[tuple(box.tolist())] for box in boxes] == expected


def test_a_quarter_shows_objects_and_none_may_be_there():
    sampler = StageSampler(num_classes=2, batch_size_per_image=16)
    truth = torch.tensor([[0.0, 0, 10, 10]])
    boxes = torch.cat([truth.repeat(50, 1), torch.tensor([[50.0, 50, 60, 60]]).repeat(50, 1)])
    drawn = sampler(boxes, truth, torch.tensor([0]), stage=0)
    assert (drawn.classes == 0).sum() == 4 and (drawn.classes == 2).sum() == 12
    empty = sampler(boxes, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), stage=0)
    assert empty.classes.tolist() == [2] * 16 and not empty.is_truth.any()


def pyramid():
    torch.manual_seed(0)
    return {f"p{level}": torch.randn(2, 3, 2 ** (7 - level), 2 ** (7 - level)) for level in range(2, 7)}


def test_the_semantic_loss_passes_over_pixels_that_say_nothing():
    head = SemanticHead(num_classes=2, channels=3, num_convs=1)
    logits, embedding = head(pyramid())
    assert logits.shape == (2, 2, 16, 16) and embedding.shape == (2, 3, 16, 16)
    given = torch.tensor([[1.0, 0.0], [0.0, 3.0]]).reshape(1, 2, 1, 2)  # two pixels; logits of class 0, then of 1
    maps = torch.full((1, 8, 16), 255)
    maps[:, :, :8] = 1
    assert head.loss(given, maps).item() == pytest.approx(0.2 * -math.log(1 / (1 + math.e)), rel=1e-5)
    silent = head.loss(logits, torch.full((2, 128, 128), 255))
    silent.backward()
    assert silent == 0 and head.predictor.weight.grad is not None


def test_every_level_counts():
    head, features = SemanticHead(num_classes=2, channels=3, num_convs=1), pyramid()
    before = head(features)[1]
    for name in features:
        assert not torch.equal(before, head({**features, name: features[name] + 1})[1]), name
