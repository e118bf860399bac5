"""Two lists of detections are one if they differ in rounding and in the order of equals only."""

import numpy as np
import pytest

from repro.deploy.compare import difference

SIZES = np.array([[200, 100]])  # width, height
LABELS = np.array([[1, 2, 1]])
BOXES = np.array([[[0, 0, 100, 50], [20, 10, 60, 40], [100, 50, 200, 100]]], dtype=np.float32)
SCORES = np.array([[0.9, 0.5, 0.1]])


def changed(boxes=BOXES, labels=LABELS, scores=SCORES):
    return labels, boxes, scores


def test_equal_lists():
    assert difference(changed(), changed(), SIZES) == 0


def test_a_box_is_measured_in_shares_of_its_image():
    moved = BOXES.copy()
    moved[0, 0, 3] += 10  # a tenth of the height
    assert difference(changed(moved), changed(), SIZES) == pytest.approx(0.1)


def test_scores():
    assert difference(changed(scores=SCORES + 0.003), changed(), SIZES, tolerance=0.01) == pytest.approx(0.003)


def test_another_class_is_no_match():
    assert difference(changed(labels=np.array([[1, 1, 1]])), changed(), SIZES) > 0.01


def test_equals_may_change_places():
    scores = np.array([[0.5, 0.5 - 1e-6, 0.1]])
    order = [1, 0, 2]
    swapped = changed(BOXES[:, order], LABELS[:, order], scores)
    assert difference(swapped, changed(scores=scores), SIZES) < 1e-5
    assert difference(changed(BOXES[:, order], LABELS[:, order]), changed(), SIZES) > 0.1  # those are not equal


def test_the_last_one_may_stand_for_another_of_its_score():
    other = BOXES.copy()
    other[0, 2] = [0, 0, 10, 10]
    assert difference(changed(other), changed(), SIZES) == 0
    other[0, 0] = [0, 0, 10, 10]
    assert difference(changed(other), changed(), SIZES) > 0.1


def test_another_number_is_infinitely_far():
    assert difference(changed(BOXES[:, :2], LABELS[:, :2], SCORES[:, :2]), changed(), SIZES) == float("inf")
