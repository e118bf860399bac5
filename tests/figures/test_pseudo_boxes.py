"""Pseudo boxes beside the truth: class by class, best first; precision and recall of what is above a score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from repro.errors import FigureError
from repro.figures.pseudo_boxes import Found, Judged, curve_point, finder, judge, unlabelled

A, B = [0.0, 0, 10, 10], [20.0, 20, 40, 40]  # two objects


def entry(box: list[float], label: int, crowd: bool = False) -> dict[str, Any]:
    return {"bbox": box, "category_id": label, "iscrowd": int(crowd)}


def found(*boxes: tuple[list[float], float, int]) -> Found:
    xyxy, score, label = zip(*boxes, strict=True)
    return Found(np.array(xyxy), np.array(score), np.array(label), np.full(len(boxes), 0.01))


def test_a_box_finds_an_object_of_its_own_class_only() -> None:
    image = {"annotations": [entry(A, 1), entry(B, 2)]}
    judged = judge(found((A, 0.9, 1), (B, 0.8, 1), (B, 0.7, 2)), image, 0.5)
    assert judged.right.tolist() == [True, False, True]
    assert judged.overlap.tolist() == [1.0, 0.0, 1.0]


def test_of_two_boxes_on_an_object_that_with_the_higher_score_has_found_it() -> None:
    image = {"annotations": [entry(A, 0)]}
    judged = judge(found(([0, 0, 10, 10], 0.6, 0), ([0, 0, 10, 8], 0.7, 0)), image, 0.5)
    assert judged.right.tolist() == [False, True]  # in the order of the boxes, not of their scores
    assert judged.overlap.tolist() == pytest.approx([1.0, 0.8])  # and the overlap is with any object, taken or not


def test_a_box_on_a_crowd_of_its_class_counts_neither_way() -> None:
    image = {"annotations": [entry([0, 0, 100, 100], 0, crowd=True), entry(A, 1)]}
    judged = judge(found((B, 0.9, 0), (B, 0.9, 1)), image, 0.5)
    assert judged.right.tolist() == [False, False]
    assert judged.on_crowd.tolist() == [True, False]
    assert curve_point(judged, 0.5, 1)["precision"] == 0.0
    alone = judge(found((B, 0.9, 0), (A, 0.9, 1)), image, 0.5)
    assert curve_point(alone, 0.5, 1) == {
        "kept": 2, "right": 1, "on_crowd": 1, "objects": 1, "precision": 100.0, "recall": 100.0,
    }  # fmt: skip


def test_precision_and_recall_by_hand() -> None:
    score = np.array([0.95, 0.9, 0.8, 0.4])
    right = np.array([True, False, True, True])
    judged = Judged(score, score, right, np.zeros(4, bool), score)
    points = {level: curve_point(judged, level, total=5) for level in (0.0, 0.5, 0.8, 0.9, 0.95)}
    assert [point["kept"] for point in points.values()] == [4, 3, 2, 1, 0]  # above, not at
    assert [point["precision"] for point in points.values()] == pytest.approx([75, 200 / 3, 50, 100, 0])
    assert [point["recall"] for point in points.values()] == pytest.approx([60, 40, 20, 20, 0])


def test_an_image_without_objects_or_boxes() -> None:
    empty = judge(
        Found(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), np.zeros(0)), {"annotations": [entry(A, 0)]}, 0.5
    )
    assert len(empty.right) == 0
    nothing = judge(found((A, 0.9, 0)), {"annotations": []}, 0.5)
    assert (nothing.right.tolist(), nothing.overlap.tolist()) == ([False], [0.0])


def test_what_the_training_saw_with_labels_is_left_out(lab: Any) -> None:
    (source,) = lab.sources("toy/figure12")
    assert [image["image_id"] for image in unlabelled(source)] == list(range(5, 17))
    assert any(image["annotations"] for image in unlabelled(source))


def test_boxes_are_the_teachers_in_pixels_of_the_file(lab: Any) -> None:
    """Beside a plain inference of the teacher, which differs in nothing but the number of its proposals."""
    (source,) = lab.sources("toy/figure12")
    image = unlabelled(source)[0]
    boxes = finder(source, 0.05)(image)
    model = source.model()
    rpn = model.teacher.proposal_generator
    rpn.pre_nms_topk, rpn.post_nms_topk = (
        {True: kept[True], False: kept[True]} for kept in (rpn.pre_nms_topk, rpn.post_nms_topk)
    )
    with torch.no_grad():
        plain = model.teacher([source.sample(image)])[0]["instances"]
    sure = plain.scores.numpy() > 0.5
    assert 0 < sure.sum() == (boxes.score > 0.5).sum()
    assert boxes.boxes_xyxy_abs[boxes.score > 0.5] == pytest.approx(plain.pred_boxes.tensor.numpy()[sure], abs=1e-3)
    assert np.isnan(boxes.variance).tolist() == (boxes.score <= 0.5).tolist()  # measured where the method does


def test_numbers_are_of_all_unlabelled_images_and_the_same_again(lab: Any) -> None:
    one, other = (lab.drawing("toy/figure12").gather(lab.sources("toy/figure12")) for _ in range(2))
    assert one.rows == other.rows
    assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    kept = [row["kept"] for row in one.rows]
    assert kept == sorted(kept, reverse=True) and kept[0] > len(one.arrays["ours.1.score"]) > 0
    assert {row["objects"] for row in one.rows} == {
        sum(
            not entry["iscrowd"]
            for image in unlabelled(lab.sources("toy/figure12")[0])
            for entry in image["annotations"]
        )
    }


def test_a_training_without_a_teacher_is_refused(lab: Any) -> None:
    (source,) = lab.sources("toy/figure6")[:1]
    with pytest.raises(FigureError, match="needs a teacher whose boxes are jittered"):
        finder(source, 0.05)
