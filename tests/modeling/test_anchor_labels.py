"""Anchors told what they show as mmdetection does, on cases worked by hand, beside Detectron2's own way."""

import pytest
import torch
from detectron2.modeling.matcher import Matcher
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage

from repro.meta_arch.faster_rcnn import example_rpn
from repro.modeling.anchor_labels import MinimumMatcher, OwnAreaRPN, in_own_area

OVERLAPS = torch.tensor(
    [
        # anchors: clear, best of the second, best of the third, nothing
        [0.80, 0.50, 0.10, 0.00],
        [0.20, 0.40, 0.00, 0.00],
        [0.00, 0.00, 0.25, 0.00],
    ]
)


def test_an_object_gets_its_best_anchor_only_from_the_minimum_on():
    matches, labels = MinimumMatcher([0.3, 0.7], [0, -1, 1], minimum=0.3)(OVERLAPS)
    assert labels.tolist() == [1, 1, 0, 0]  # 0.25 is too little
    assert matches.tolist()[:2] == [0, 1]  # the second object's best anchor is its own, though the first overlaps more
    theirs, detectron2 = Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True)(OVERLAPS)
    assert detectron2.tolist() == [1, 1, 1, 0] and theirs.tolist()[:2] == [0, 0]


def test_the_minimum_is_reached_by_equality_and_ties_all_count():
    overlaps = torch.tensor([[0.3, 0.3, 0.2], [0.3, 0.1, 0.2]])
    matches, labels = MinimumMatcher([0.3, 0.7], [0, -1, 1], minimum=0.3)(overlaps)
    assert labels.tolist() == [1, 1, 0]
    assert matches.tolist()[:2] == [1, 0]  # of the first anchor the later object


def test_without_objects_all_is_background():
    matches, labels = MinimumMatcher([0.3, 0.7], [0, -1, 1])(torch.zeros(0, 5))
    assert labels.tolist() == [0] * 5 and matches.shape == (5,)


@pytest.mark.parametrize(("size", "columns", "rows"), [((33, 64), 2, 2), ((64, 65), 3, 2), ((1, 32), 1, 1)])
def test_an_images_own_area_reaches_to_the_next_multiple_of_32(size, columns, rows):
    middles = torch.tensor([[x * 32.0, y * 32.0] for y in range(4) for x in range(4)])
    anchors = Boxes(torch.cat([middles - 20.00001, middles + 20], dim=1))
    inside = in_own_area(anchors, size).view(4, 4)
    wanted = torch.zeros(4, 4, dtype=torch.bool)
    wanted[:rows, :columns] = True
    assert torch.equal(inside, wanted)


def test_anchors_beside_an_image_teach_nothing():
    torch.manual_seed(0)
    rpn = example_rpn(4)
    plain = rpn.label_and_sample_anchors
    grids = [torch.zeros(1, 4, 128 // stride, 128 // stride) for stride in (4, 8, 16, 32, 64)]
    anchors = rpn.anchor_generator(grids)
    box = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    small = Instances((64, 96), gt_boxes=Boxes(box), gt_classes=torch.zeros(1, dtype=torch.long))
    rpn.batch_size_per_image = 10**6  # all of them, so that nothing is drawn
    before, _ = plain(anchors, [small])
    rpn.__class__ = OwnAreaRPN
    after, boxes = rpn.label_and_sample_anchors(anchors, [small])
    inside = in_own_area(Boxes.cat(anchors), (64, 96))
    assert (before[0][~inside] == 0).any() and (after[0][~inside] == -1).all()
    assert torch.equal(before[0][inside], after[0][inside]) and (after[0] == 1).any()
    assert (boxes[0][after[0] == 1] == box).all()


def test_the_rpn_learns_from_images_of_two_sizes():
    torch.manual_seed(0)
    rpn = example_rpn(4).train()
    rpn.__class__ = OwnAreaRPN
    images = ImageList(torch.zeros(2, 3, 128, 128), [(64, 96), (128, 128)])
    features = {f"p{level}": torch.randn(2, 4, 128 // 2**level, 128 // 2**level) for level in range(2, 7)}
    objects = [
        Instances(size, gt_boxes=Boxes(torch.tensor([[8.0, 8.0, 40.0, 40.0]])), gt_classes=torch.zeros(1).long())
        for size in images.image_sizes
    ]
    with EventStorage():
        _, losses = rpn(images, features, objects)
    assert all(torch.isfinite(value) and value > 0 for value in losses.values())
