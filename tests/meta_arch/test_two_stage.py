"""Soft Teacher's losses of a Faster R-CNN against the same computed another way: from Detectron2's own answers."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage
from torch import nn

from repro.meta_arch import faster_rcnn
from repro.meta_arch.semi.two_stage import TwoStage, proposing_as_in_training
from repro.modeling.pseudo_boxes import ByScore, ByVariance
from repro.modeling.soft_weights import PerImageLosses


def detector(seed):
    torch.manual_seed(seed)
    model = faster_rcnn.example()
    nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.3)
    nn.init.normal_(model.roi_heads.box_predictor.bbox_pred.weight, std=0.05)
    return model


class Watched:
    """A student and a teacher, and which boxes were sampled for classification and for regression."""

    def __init__(self, monkeypatch, **settings):
        self.student, self.teacher = detector(0).train(), detector(1).eval().requires_grad_(False)
        self.method = TwoStage(**{"score_threshold": 0.2, "rpn_threshold": 0.25, "cls_threshold": 0.25} | settings)
        self.sampled, self.wanted = [], []
        real = self.student.roi_heads.label_and_sample_proposals

        def sample(proposals, targets):
            self.wanted.append(targets)
            self.sampled.append(real(proposals, targets))
            return self.sampled[-1]

        monkeypatch.setattr(self.student.roi_heads, "label_and_sample_proposals", sample)

    def __call__(self, *samples):
        with EventStorage():
            return self.method(self.student, self.teacher, samples)


def head(model, view, boxes):
    """Class logits and deltas of boxes of one view."""
    images = model.preprocess_image([view])
    features = [model.backbone(images.tensor)[name] for name in model.roi_heads.box_in_features]
    return model.roi_heads.box_predictor(model.roi_heads.box_head(model.roi_heads.box_pooler(features, [Boxes(boxes)])))


def in_weak_view(boxes):
    """The strong view's boxes in the weak one, by hand: mirrored and enlarged."""
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack([(112 - x1) * 128 / 112, y0 * 96 / 80, (112 - x0) * 128 / 112, y1 * 96 / 80], dim=1)


def expected_terms(watched, samples, chosen):
    """Cross-entropy, the teacher's probability of background, and which are foreground, of all sampled boxes."""
    terms, background, foreground = [], [], []
    for sample, entry in zip(samples, chosen, strict=True):
        logits, _ = head(watched.student, sample["strong"], entry.proposal_boxes.tensor)
        terms.append(F.cross_entropy(logits, entry.gt_classes, reduction="none"))
        theirs, _ = head(watched.teacher, sample["weak"], in_weak_view(entry.proposal_boxes.tensor))
        background.append(theirs.softmax(1)[:, 3])
        foreground.append(entry.gt_classes < 3)
    return torch.cat(terms), torch.cat(background), torch.cat(foreground)


def test_classification_is_weighted_by_the_teachers_background(monkeypatch, unlabelled):
    watched, samples = Watched(monkeypatch), [unlabelled(0), unlabelled(1)]
    losses = watched(*samples)
    terms, background, foreground = expected_terms(watched, samples, watched.sampled[0])
    assert foreground.any() and (~foreground).sum() > 20 and background.std() > 0.01
    weights = torch.where(foreground, torch.ones(()), background)
    expected = (weights * terms).sum() / weights.sum()
    torch.testing.assert_close(losses["loss_cls"], expected, rtol=1e-4, atol=1e-5)


def test_without_weights_it_is_detectron2s_own_loss(monkeypatch, unlabelled):
    watched, samples = Watched(monkeypatch, indicator="none"), [unlabelled(0), unlabelled(1)]
    losses = watched(*samples)
    with EventStorage():
        pairs = zip(samples, watched.sampled[0], strict=True)
        parts = [head(watched.student, sample["strong"], entry.proposal_boxes.tensor) for sample, entry in pairs]
        predictions = tuple(torch.cat(part) for part in zip(*parts, strict=True))
        own = watched.student.roi_heads.box_predictor.losses(predictions, watched.sampled[0])
    torch.testing.assert_close(losses["loss_cls"], own["loss_cls"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("paper", [False, True])
def test_regression_learns_from_its_own_boxes(monkeypatch, unlabelled, paper):
    watched = Watched(monkeypatch, regression=ByVariance(0.5), losses=PerImageLosses() if paper else None)
    samples = [unlabelled(0), unlabelled(1)]
    losses = watched(*samples)
    chosen = watched.sampled[1]
    assert [len(entry) for entry in watched.wanted[1]] != [len(entry) for entry in watched.wanted[0]]
    sums, positives = [], []
    for sample, entry in zip(samples, chosen, strict=True):
        _, deltas = head(watched.student, sample["strong"], entry.proposal_boxes.tensor)
        front = entry.gt_classes < 3
        own = deltas.view(len(entry), 3, 4)[front, entry.gt_classes[front]]
        transform = watched.student.roi_heads.box_predictor.box2box_transform
        wanted = transform.get_deltas(entry.proposal_boxes.tensor[front], entry.gt_boxes.tensor[front])
        sums.append((own - wanted).abs().sum())
        positives.append(front.sum())
    assert all(count > 0 for count in positives)
    released = sum(sums) / sum(len(entry) for entry in chosen)
    printed = sum(total / count for total, count in zip(sums, positives, strict=True)) / 2
    torch.testing.assert_close(losses["loss_box_reg"], printed if paper else released, rtol=1e-4, atol=1e-5)


def test_the_rpn_learns_from_the_surest_boxes(monkeypatch, unlabelled):
    seen = []
    watched, sample = Watched(monkeypatch, rpn_threshold=0.3), unlabelled(0)
    real = watched.student.proposal_generator.label_and_sample_anchors

    def label(anchors, targets):
        seen.append(targets)
        return real(anchors, targets)

    monkeypatch.setattr(watched.student.proposal_generator, "label_and_sample_anchors", label)
    watched(sample)
    with EventStorage():
        looked = watched.method.look(watched.teacher, [sample["weak"]])
    (boxes,) = looked.boxes
    assert 0 < len(seen[0][0]) == (boxes.scores > 0.3).sum() < len(watched.wanted[0][0])
    x0, y0, x1, y1 = boxes.boxes_xyxy_abs[boxes.scores > 0.3].unbind(1)
    there = torch.stack([112 - x1 * 112 / 128, y0 * 80 / 96, 112 - x0 * 112 / 128, y1 * 80 / 96], dim=1)
    torch.testing.assert_close(seen[0][0].gt_boxes.tensor, there, rtol=1e-4, atol=1e-3)
    assert seen[0][0].image_size == (80, 112)


def test_the_teacher_sees_what_it_detects_and_proposes_as_in_training(unlabelled):
    teacher, views = detector(1).eval(), [unlabelled(seed)["weak"] for seed in range(2)]
    method = TwoStage(score_threshold=0.3, regression=ByScore())
    looked = method.look(teacher, views)
    with proposing_as_in_training(teacher.proposal_generator):
        detections = teacher([{**view, "height": 96, "width": 128} for view in views])
    assert teacher.proposal_generator.pre_nms_topk == {True: 100, False: 50}
    for entry, found in zip(looked.boxes, detections, strict=True):
        expected = found["instances"][found["instances"].scores > 0.3]
        assert len(expected) > 0
        torch.testing.assert_close(entry.boxes_xyxy_abs, expected.pred_boxes.tensor, rtol=1e-4, atol=1e-3)
        assert torch.equal(entry.labels, expected.pred_classes)


def test_refined_boxes_are_those_that_the_head_decodes(unlabelled):
    teacher, view = detector(1).eval(), unlabelled(0)["weak"]
    boxes, labels = torch.tensor([[10.0, 10, 50, 60], [60, 20, 127, 95]]), torch.tensor([2, 0])
    images = teacher.preprocess_image([view])
    with torch.no_grad():
        features = teacher.backbone(images.tensor)
        (found,) = TwoStage().head.refine(teacher.roi_heads, features, [boxes], [labels], images.image_sizes)
        _, deltas = head(teacher, view, boxes)
    wanted = Boxes(
        teacher.roi_heads.box_predictor.box2box_transform.apply_deltas(deltas, boxes).view(2, 3, 4)[[0, 1], labels]
    )
    wanted.clip((96, 128))
    torch.testing.assert_close(found, wanted.tensor, rtol=1e-4, atol=1e-3)


def test_where_both_see_the_same_their_backgrounds_are_the_same(monkeypatch, unlabelled):
    sample = unlabelled(0)
    sample["strong"] = sample["weak"]
    losses = {}
    for name in ("BG-T", "BG-S", "Pred-Diff", "none"):
        watched = Watched(monkeypatch, indicator=name)
        watched.student.load_state_dict(watched.teacher.state_dict())
        torch.manual_seed(5)
        losses[name] = watched(sample)["loss_cls"]
    torch.testing.assert_close(losses["BG-T"], losses["BG-S"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses["Pred-Diff"], losses["none"], rtol=1e-5, atol=1e-6)
    assert (losses["BG-T"] - losses["none"]).abs() > 1e-3


def test_jitters_of_all_images_pass_the_head_once(monkeypatch, unlabelled):
    watched = Watched(monkeypatch)
    calls = []
    watched.teacher.roi_heads.box_head.register_forward_hook(lambda module, args, output: calls.append(len(output)))
    watched(unlabelled(0), unlabelled(1))
    with EventStorage():
        count = sum(
            len(entry.scores)
            for entry in watched.method.look(watched.teacher, [unlabelled(s)["weak"] for s in (0, 1)]).boxes
        )
    assert calls[:3] == [calls[0], 10 * count, sum(len(entry) for entry in watched.sampled[0])]
