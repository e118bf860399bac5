import math

import pytest
import torch
from detectron2.structures import Boxes, Instances

from repro.meta_arch.deformable_detr import example


@pytest.fixture
def model():
    torch.manual_seed(0)
    return example()


def objects(height, width, boxes, classes):
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).view(-1, 4))
    instances.gt_classes = torch.tensor(classes, dtype=torch.long)
    return instances


def test_detections_by_hand(model):
    """Two queries, three classes: the best pairs first, one query under two classes, boxes not clipped."""
    model.test_topk = 3
    logits = torch.tensor([[2.0, 0.0, -5.0], [-4.0, -5.0, 1.0]])
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.9, 0.5, 0.4, 0.2]])
    found = model.detections(logits, boxes, (100, 200))
    assert found.pred_classes.tolist() == [0, 2, 1]
    assert found.scores.tolist() == pytest.approx([1 / (1 + math.exp(-x)) for x in (2, 1, 0)])
    expected = torch.tensor([[50.0, 25, 150, 75], [140, 40, 220, 60], [50, 25, 150, 75]])
    torch.testing.assert_close(found.pred_boxes.tensor, expected)


def test_fewer_pairs_than_asked_for(model):
    assert len(model.detections(torch.zeros(2, 3), torch.rand(2, 4), (10, 10))) == 6


def test_targets_are_relative_to_their_image(model):
    targets = model.targets([objects(100, 200, [[20, 10, 60, 30]], [1]), objects(50, 50, [], [])])
    torch.testing.assert_close(targets.boxes_cxcywh_rel[0, 0], torch.tensor([0.2, 0.2, 0.2, 0.2]))
    assert targets.labels[0].tolist() == [1] and targets.counts == (1, 0)


def test_images_are_normalised_then_padded_with_zeros(model):
    white = torch.full((3, 4, 6), 255, dtype=torch.uint8)
    black = torch.zeros(3, 5, 3, dtype=torch.uint8)
    batch, mask = model.preprocess([white, black])
    assert batch.shape == (2, 3, 5, 6)
    torch.testing.assert_close(
        batch[0, :, 0, 0], torch.tensor([(255 - 123.675) / 58.395, 138.72 / 57.12, 151.47 / 57.375])
    )
    assert batch[0, :, 4].abs().sum() == 0 and batch[1, :, :, 3:].abs().sum() == 0
    assert mask.logical_not().sum((1, 2)).tolist() == [24, 15]
    assert not mask[0, :4].any() and not mask[1, :, :3].any()


def test_images_of_one_size_need_no_mask(model):
    assert model.preprocess([torch.zeros(3, 4, 6, dtype=torch.uint8)] * 2)[1] is None


def test_initial_predictions(model):
    """Every class at probability 0.01 on average; boxes at the reference points, sigmoid(-2) wide and high."""
    assert torch.equal(model.class_embed[0].bias, torch.full((3,), -math.log(99)))
    predictions = model.eval().forward_tensors(torch.rand(1, 3, 64, 64))
    sizes = predictions.pred_boxes[..., 2:]
    torch.testing.assert_close(sizes, torch.full_like(sizes, 1 / (1 + math.exp(2))))
    reference = model.transformer.queries.reference_points
    position = model.transformer.queries.query_embed.weight[:, :32]
    torch.testing.assert_close(predictions.pred_boxes[0, :, :2], reference(position).sigmoid(), rtol=0, atol=1e-4)


def test_without_auxiliary_losses_only_the_last_layer_is_trained(model):
    model.aux_loss = False
    entry = {"image": torch.zeros(3, 64, 64, dtype=torch.uint8), "instances": objects(64, 64, [[8, 8, 40, 40]], [1])}
    assert set(model([entry])) == {"loss_ce", "loss_bbox", "loss_giou"}
