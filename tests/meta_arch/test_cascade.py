"""Soft Teacher on HTC: the teacher's ensemble weights, stages weighted, masks that land on the same pixels."""

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from repro.meta_arch import htc
from repro.meta_arch.semi.cascade import Cascade
from repro.modeling.pseudo_boxes import ByVariance
from repro.modeling.views import project_boxes, warp


def detector(seed):
    torch.manual_seed(seed)
    model = htc.example()
    for name, parameter in model.named_parameters():
        if "cls_score.0" in name or "cls_score.1" in name or "cls_score.2" in name:
            nn.init.normal_(parameter, std=0.3)
        elif "mask.heads" in name and "predictor" in name:
            nn.init.normal_(parameter, std=1.0)
    return model


@pytest.fixture
def method():
    return Cascade(0.2, 0.25, 0.25, ByVariance(0.5))


def losses(method, samples, weights=None):
    student, teacher = detector(0).train(), detector(1).eval().requires_grad_(False)
    if weights is not None:
        student.roi_heads.stage_weights = weights
    with EventStorage():
        torch.manual_seed(3)
        return student, method(student, teacher, samples)


def test_losses_of_all_stages_reach_the_student_only(method, unlabelled):
    student, found = losses(method, [unlabelled(0), unlabelled(1)])
    staged = {f"{name}_stage{stage}" for name in ("loss_cls", "loss_box_reg", "loss_mask") for stage in range(3)}
    assert found.keys() == staged | {"loss_rpn_cls", "loss_rpn_loc"}
    assert all(value.isfinite() and value > 0 for value in found.values())
    sum(found.values()).backward()
    silent = {name for name, parameter in student.named_parameters() if parameter.grad is None}
    assert silent == {"semantic_head.predictor.weight", "semantic_head.predictor.bias"}


def test_stages_have_their_weights(method, unlabelled):
    _, found = losses(method, [unlabelled(0)])
    _, plain = losses(method, [unlabelled(0)], (1.0, 1.0, 1.0))
    for name, value in found.items():
        factor = {"0": 1.0, "1": 0.5, "2": 0.25}.get(name[-1], 1.0)
        torch.testing.assert_close(value, factor * plain[name])


def test_background_is_the_ensembles(method, unlabelled):
    teacher, sample = detector(1).eval(), unlabelled(0)
    with EventStorage():
        seen = method.look(teacher, [sample["weak"]])
    boxes = torch.tensor([[10.0, 10, 50, 60], [60, 20, 127, 95]])
    chosen = [htc.StageSampler(3)(boxes, boxes[:0], torch.zeros(0, dtype=torch.long), 0)]
    (found,) = method.background(teacher, seen, chosen, [torch.eye(3, dtype=torch.float64)])
    logits, current = [], [chosen[0].boxes_xyxy_abs]
    with torch.no_grad():
        for stage in range(3):
            answer, deltas = teacher.roi_heads.run_box(seen.features, current, stage)
            logits.append(answer)
            current = teacher.roi_heads.decode(deltas, current, seen.sizes, stage)
    torch.testing.assert_close(found, (sum(logits) / 3).softmax(-1)[:, -1])


def test_masks_land_where_their_boxes_do(method, unlabelled):
    """The strong view is mirrored and smaller: masks lie inside the projected boxes, and are not empty."""
    teacher, sample = detector(1).eval(), unlabelled(0)
    way = sample["strong"]["matrix"]
    with EventStorage():
        seen = method.look(teacher, [sample["weak"]])
    (objects,) = method.with_masks(teacher, seen, [way], [(80, 112)])
    sure = seen.boxes[0].scores > 0.25
    assert len(objects) == sure.sum() > 0
    expected = project_boxes(seen.boxes[0].boxes_xyxy_abs[sure], way, (80, 112))
    torch.testing.assert_close(objects.gt_boxes.tensor, expected)
    assert objects.gt_masks.tensor.any()
    for mask, (x0, y0, x1, y1) in zip(objects.gt_masks.tensor, expected.tolist(), strict=True):
        rows, columns = mask.nonzero().unbind(1)
        assert ((rows >= y0 - 2) & (rows < y1 + 2) & (columns >= x0 - 2) & (columns < x1 + 2)).all()
    assert objects.gt_masks_valid.all()


def test_warped_planes_by_hand():
    plane = torch.tensor([[[True, False, False], [False, False, False]]])
    mirrored = torch.tensor([[-2.0, 0, 6], [0, 2, 0], [0, 0, 1]], dtype=torch.float64)  # mirrored and twice as large
    assert warp(plane, mirrored, (4, 6)).int().tolist() == [[[0, 0, 0, 0, 1, 1]] * 2 + [[0] * 6] * 2]
    moved = torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    assert warp(torch.ones_like(plane), moved, (2, 3)).int().tolist() == [[[0, 1, 1], [0, 1, 1]]]
