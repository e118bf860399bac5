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


def losses(method, samples, weights=None, teacher=None):
    student = detector(0).train()
    if weights is not None:
        student.roi_heads.stage_weights = weights
    with EventStorage():
        torch.manual_seed(3)
        return student, method(student, teacher or detector(1).eval(), samples)


def by_hand(teacher, features, boxes, sizes):
    """Logits of each stage, and the boxes that the last one leaves."""
    logits, current = [], boxes
    with torch.no_grad():
        for stage in range(3):
            answer, deltas = teacher.roi_heads.run_box(features, current, stage)
            logits.append(answer)
            current = teacher.roi_heads.decode(deltas, current, sizes, stage)
    return logits, current


def test_losses_of_all_stages_reach_the_student_only(method, unlabelled):
    teacher = detector(1).eval()  # nothing but the method keeps gradients from it
    student, found = losses(method, [unlabelled(0), unlabelled(1)], teacher=teacher)
    staged = {f"{name}_stage{stage}" for name in ("loss_cls", "loss_box_reg", "loss_mask") for stage in range(3)}
    assert found.keys() == staged | {"loss_rpn_cls", "loss_rpn_loc"}
    assert all(value.isfinite() and value > 0 for value in found.values())
    sum(found.values()).backward()
    silent = {name for name, parameter in student.named_parameters() if parameter.grad is None}
    assert silent == {"semantic_head.predictor.weight", "semantic_head.predictor.bias"}
    assert all(parameter.grad is None for parameter in teacher.parameters())


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
    logits, _ = by_hand(teacher, seen.features, [chosen[0].boxes_xyxy_abs], seen.sizes)
    torch.testing.assert_close(found, (sum(logits) / 3).softmax(-1)[:, -1])


def test_the_teacher_is_asked_for_background_in_its_own_view(method, unlabelled, monkeypatch):
    asked, teacher, sample = [], detector(1).eval(), unlabelled(0)

    def sure_of_nothing(which, seen, chosen, ways):
        asked.append((which, ways))
        return [torch.zeros(len(each.classes)) for each in chosen]

    _, usual = losses(method, [sample], teacher=teacher)
    monkeypatch.setattr(method, "background", sure_of_nothing)
    _, found = losses(method, [sample], teacher=teacher)
    assert [which is teacher for which, _ in asked] == [True] * 3
    back = sample["weak"]["matrix"] @ sample["strong"]["matrix"].inverse()
    for _, (way,) in asked:
        torch.testing.assert_close(way, back)
    changed = {name for name, value in found.items() if not torch.allclose(value, usual[name])}
    assert changed == {f"loss_cls_stage{stage}" for stage in range(3)}


@pytest.mark.parametrize(
    ("settings", "silent"),
    [((0.2, 0.25, 0.25, ByVariance(-1.0)), {"loss_box_reg"}), ((0.2, 0.25, 1.0, ByVariance(0.5)), {"loss_mask"})],
    ids=["regression", "classification"],
)
def test_regression_and_classification_have_boxes_of_their_own(settings, silent, unlabelled):
    _, found = losses(Cascade(*settings), [unlabelled(0)])
    zero = {name.partition("_stage")[0] for name, value in found.items() if value == 0}
    assert zero == silent
    expected = {f"{name}_stage{stage}" for name in silent for stage in range(3)}
    assert {name for name, value in found.items() if value == 0} == expected


def test_jittered_boxes_pass_the_whole_cascade(method, unlabelled, monkeypatch):
    teacher, sample, given = detector(1).eval(), unlabelled(0), []
    monkeypatch.setattr(method.regression, "measured", lambda boxes, refine: given.append(refine) or list(boxes))
    with EventStorage():
        seen = method.look(teacher, [sample["weak"]])
    boxes = torch.tensor([[10.0, 10, 50, 60], [60, 20, 127, 95]])
    (found,) = given[0]([boxes], [torch.zeros(2, dtype=torch.long)])
    _, (expected,) = by_hand(teacher, seen.features, [boxes], seen.sizes)
    torch.testing.assert_close(found, expected)


def test_pixels_beside_the_weak_view_do_not_count(method, unlabelled):
    teacher, sample = detector(1).eval(), unlabelled(0)
    moved = torch.tensor([[1.0, 0, 40], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    with EventStorage():
        seen = method.look(teacher, [sample["weak"]])
    (objects,) = method.with_masks(teacher, seen, [moved], [(96, 128)])
    assert len(objects) and not objects.gt_masks_valid[:, :, :40].any() and objects.gt_masks_valid[:, :, 40:].all()


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
