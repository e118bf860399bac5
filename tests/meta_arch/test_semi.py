"""The wrapper is general: a step with a one-stage detector and with two that predict sets, and what they learn from."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from repro.meta_arch import deformable_detr, retinanet, rtdetr
from repro.meta_arch.semi import one_stage as one_stage_module
from repro.meta_arch.semi.hard_labels import HardLabels
from repro.meta_arch.semi.one_stage import OneStage, predict
from repro.meta_arch.soft_teacher import SoftTeacher
from repro.modeling.boxes import box_iou
from repro.modeling.pseudo_boxes import PseudoBoxes

LOW = 0.02  # what an untrained detector reaches
CASES = [(retinanet, OneStage(LOW)), (deformable_detr, HardLabels(LOW)), (rtdetr, HardLabels(LOW))]
IDS = [module.__name__.rpartition(".")[2] for module, _ in CASES]


def disturbed(module, seed):
    """The example detector, with class scores that differ from box to box."""
    torch.manual_seed(seed)
    model = module.example()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * (0.2 if "cls" in name or "class" in name else 0.02))
    return model


@pytest.mark.parametrize(("module", "method"), CASES, ids=IDS)
def test_a_step_with_any_detector(module, method, labelled, unlabelled):
    model = SoftTeacher(disturbed(module, 0), method).train()
    model.before_step(0)
    with EventStorage() as storage:
        losses = model([unlabelled(0), labelled(0), unlabelled(1)])
        assert storage.latest()["pseudo_boxes/boxes"][0] > 0
    names = {name for name in losses if not name.endswith("_unsup")}
    assert set(losses) == names | {f"{name}_unsup" for name in names}
    assert all(value.isfinite() for value in losses.values())
    sum(value for name, value in losses.items() if name.endswith("_unsup")).backward()
    learns = [p for name, p in model.student.named_parameters() if p.requires_grad and "denoising_class" not in name]
    assert all(p.grad is not None for p in learns) and any(p.grad.abs().sum() > 0 for p in learns)
    assert all(p.grad is None for p in model.teacher.parameters())


@pytest.mark.parametrize(("module", "method"), CASES, ids=IDS)
def test_without_pseudo_boxes(module, method, unlabelled):
    model = SoftTeacher(disturbed(module, 0), type(method)(1.0)).train()
    losses = model([unlabelled(0)])
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()


@pytest.mark.parametrize("module", [deformable_detr, rtdetr], ids=IDS[1:])
def test_set_prediction_learns_from_the_teachers_boxes(module, unlabelled):
    """The losses are the student's own with the teacher's boxes, mirrored and shrunk by hand into its view."""
    student, teacher = disturbed(module, 0).train(), disturbed(module, 1).eval()
    sample = unlabelled(0)
    with EventStorage():
        torch.manual_seed(3)
        losses = HardLabels(LOW)(student, teacher, [sample])
    with torch.no_grad():
        (answer,) = teacher([{"image": sample["weak"]["image"]}])
    found = answer["instances"][answer["instances"].scores > LOW]
    x0, y0, x1, y1 = found.pred_boxes.tensor.unbind(1)
    boxes = torch.stack([112 - x1 * 112 / 128, y0 * 80 / 96, 112 - x0 * 112 / 128, y1 * 80 / 96], dim=1)
    boxes = torch.stack([boxes[:, 0::2].clamp(0, 112), boxes[:, 1::2].clamp(0, 80)], dim=2).flatten(1)
    assert len(found) > 0
    objects = Instances((80, 112), gt_boxes=Boxes(boxes), gt_classes=found.pred_classes)
    torch.manual_seed(3)
    expected = student([{"image": sample["strong"]["image"], "instances": objects}])
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-3, atol=1e-4)


def one_stage(samples, indicator, seeds=(0, 1), threshold=LOW):
    student, teacher = disturbed(retinanet, seeds[0]).train(), disturbed(retinanet, seeds[1]).eval()
    with EventStorage():
        return student, teacher, OneStage(threshold, indicator)(student, teacher, samples)


def test_background_anchors_weigh_as_much_as_the_teacher_doubts(unlabelled):
    """By Lin et al.'s formula, anchor by anchor, in a pair of equal views, where each anchor is its own counterpart."""
    sample = unlabelled(0)
    sample["strong"] = sample["weak"]
    student, teacher, losses = one_stage([sample], "BG-T")
    seen, own = predict(teacher, [sample["weak"]]), predict(student, [sample["weak"]])
    (answer,) = teacher([{"image": sample["weak"]["image"]}])
    found = answer["instances"][answer["instances"].scores > LOW]
    objects = Instances((96, 128), gt_boxes=found.pred_boxes, gt_classes=found.pred_classes)
    (labels,), _ = student.label_anchors(own.anchors, [objects])
    doubt = 1 - torch.cat(seen.logits, 1)[0].sigmoid().amax(1)
    logits = torch.cat(own.logits, 1)[0].double()
    p, total = logits.sigmoid(), torch.zeros((), dtype=torch.float64)
    for label in range(3):
        is_it = labels == label
        one = -0.25 * (1 - p[:, label]) ** 2 * F.logsigmoid(logits[:, label])
        other = -0.75 * p[:, label] ** 2 * F.logsigmoid(-logits[:, label])
        weight = torch.where(labels == 3, doubt.double(), 1.0) * (labels >= 0)
        total = total + torch.where(is_it, one, other * weight).sum()
    positive = int(((labels >= 0) & (labels < 3)).sum())
    assert positive > 0 and doubt.std() > 1e-3
    torch.testing.assert_close(losses["loss_cls"].double(), total / positive, rtol=1e-4, atol=1e-4)


def test_the_weights_come_from_the_same_place_of_the_other_view(unlabelled):
    """A teacher that is sure of an object in the left half of its view makes the right half of a mirrored one light."""
    sample = unlabelled(0)
    student, teacher = disturbed(retinanet, 0).train(), disturbed(retinanet, 0).eval()
    mirror = torch.tensor([[-1.0, 0, 128], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    sample["strong"] = {"image": sample["weak"]["image"].flip(-1), "matrix": mirror}
    own, seen = predict(student, [sample["strong"]]), predict(teacher, [sample["weak"]])
    middles = Boxes.cat(seen.anchors).get_centers()[:, 0]
    for level, anchors in zip(seen.logits, seen.anchors, strict=True):
        level[:] = torch.where(anchors.get_centers()[:, 0] < 56, 9.0, -9.0)[None, :, None]
    nothing = PseudoBoxes(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    weights = OneStage().weights(own, seen, [mirror], [nothing])
    first = slice(0, len(seen.anchors[0]))
    right, left = middles[first] > 80, middles[first] < 64
    assert (weights[0, first][right] < 0.01).all() and (weights[0, first][left] > 0.99).all()


def learn(model, inputs, steps):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(steps):
        loss = sum(model.train()(inputs).values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def test_anchors_are_looked_up_from_the_students_view_in_the_teachers(monkeypatch, unlabelled):
    ways, real = [], one_stage_module.counterparts

    def watched(source, target, way):
        ways.append((source.cells[0], target.cells[0], way))
        return real(source, target, way)

    monkeypatch.setattr(one_stage_module, "counterparts", watched)
    one_stage([unlabelled(0)], "BG-T")
    ((source, target, way),) = ways
    assert (source, target) == ((12, 16), (12, 16))  # 80 × 112 and 96 × 128, padded to whole strides of 32
    corner = way @ torch.tensor([112.0, 80, 1], dtype=torch.float64)  # the strong view's, mirrored
    torch.testing.assert_close(corner, torch.tensor([0.0, 96, 1], dtype=torch.float64))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "method"), [(retinanet, OneStage(0.8)), (deformable_detr, HardLabels(0.3))], ids=IDS[:2]
)
def test_what_only_the_teacher_knows_is_learned_from_it(module, method):
    """Two images of a square; the teacher has seen both with labels, the student one of them, the other in a mirror."""
    images = torch.full((2, 3, 96, 96), 128, dtype=torch.uint8)
    images[0, 0, 16:56, 8:48] = 255
    images[1, 2, 40:88, 40:80] = 255
    boxes = [torch.tensor([[8.0, 16, 48, 56]]), torch.tensor([[40.0, 40, 80, 88]])]
    labels = [torch.tensor([0]), torch.tensor([2])]
    inputs = [
        {"image": image, "instances": Instances((96, 96), gt_boxes=Boxes(box), gt_classes=label)}
        for image, box, label in zip(images, boxes, labels, strict=True)
    ]
    mirror = torch.tensor([[-1.0, 0, 96], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    views = {
        "weak": {"image": images[1], "matrix": torch.eye(3, dtype=torch.float64)},
        "strong": {"image": images[1].flip(-1), "matrix": mirror},
    }
    torch.manual_seed(0)
    teacher = module.example()
    learn(teacher, inputs, 300)
    model = SoftTeacher(module.example(), method, unsupervised_weight=1.0)
    model.teacher.load_state_dict(teacher.state_dict())
    learn(model, [inputs[0], views], 300)
    (found,) = model.eval()([{"image": images[1].flip(-1)}])
    best = found["instances"][:1]
    assert best.pred_classes.item() == 2 and best.scores.item() > 0.3
    assert box_iou(best.pred_boxes.tensor[0], torch.tensor([16.0, 40, 56, 88])) > 0.5
