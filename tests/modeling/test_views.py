"""A box drawn in one view lands on the same object in the other: by hand, and on images."""

import cv2
import numpy as np
import pytest
import torch

from repro.modeling.views import between, project_boxes


def matrix(rows):
    return torch.tensor(rows, dtype=torch.float64)


def shrunk_and_mirrored(width):
    """Half the size, then left and right exchanged in an image of ``width``."""
    return matrix([[-0.5, 0, width], [0, 0.5, 0], [0, 0, 1]])


def turned(degrees, width, height):
    """About the middle of the pixels' centres, as OpenCV turns."""
    two = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return matrix([*two.tolist(), [0, 0, 1]])


def test_by_hand():
    boxes = torch.tensor([[10.0, 20, 30, 60], [-5, 0, 10, 300]])
    found = project_boxes(boxes, shrunk_and_mirrored(50), (100, 50))
    assert found.tolist() == [[35, 10, 45, 30], [45, 0, 50, 100]]  # the second is clipped to the view


def test_a_quarter_turn_and_a_hull():
    quarter = matrix([[0, -1, 100], [1, 0, 0], [0, 0, 1]])
    assert project_boxes(torch.tensor([[10.0, 20, 30, 60]]), quarter, (100, 100)).tolist() == [[40, 10, 80, 30]]
    eighth = matrix([[1, -1, 100], [1, 1, 0], [0, 0, 1]]) / 2**0.5
    eighth[2, 2] = 1
    (found,) = project_boxes(torch.tensor([[10.0, 10, 30, 30]]), eighth, (100, 100)).tolist()
    half = 20 / 2**0.5  # of the diagonal
    middle = (100 / 2**0.5, 40 / 2**0.5)
    assert found == pytest.approx([middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half], abs=1e-4)


def test_perspective_divides():
    far = matrix([[1, 0, 0], [0, 1, 0], [0, 0.01, 1]])
    found = project_boxes(torch.tensor([[0.0, 0, 100, 100]]), far, (200, 200))
    assert found.tolist() == [[0, 0, 100, 50]]


def test_what_is_beside_the_view_has_no_area_and_nothing_is_nothing():
    away = matrix([[1, 0, 500], [0, 1, 0], [0, 0, 1]])
    (found,) = project_boxes(torch.tensor([[0.0, 0, 10, 10]]), away, (100, 100))
    assert (found[2:] - found[:2]).prod() == 0
    assert project_boxes(torch.zeros(0, 4), away, (100, 100)).shape == (0, 4)


@pytest.mark.parametrize("seed", range(3))
def test_there_and_back_again(seed):
    rng = np.random.default_rng(seed)
    source, target = (matrix([[s, 0, rng.uniform(-5, 5)], [0, s, 3], [0, 0, 1]]) for s in rng.uniform(0.5, 2, 2))
    box = torch.tensor([[20.0, 30, 50, 70]])
    there = project_boxes(box, between(source, target), (1000, 1000))
    torch.testing.assert_close(project_boxes(there, between(target, source), (1000, 1000)), box, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("degrees", [0, 17, -30])
def test_a_box_in_one_view_lands_on_the_same_object_in_the_other(degrees):
    """A white square, seen shrunk and mirrored in one view and turned in the other, by OpenCV with these matrices."""
    original = np.zeros((160, 200), np.uint8)
    original[60:100, 80:140] = 255
    weak, strong = shrunk_and_mirrored(100), turned(degrees, 200, 160)

    def seen(view, height, width):
        centres = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])  # OpenCV counts from the middle of a pixel
        pixels = centres @ view.numpy() @ np.linalg.inv(centres)
        return cv2.warpAffine(original, pixels[:2], (width, height), flags=cv2.INTER_LINEAR)

    def box_of(image):
        rows, columns = np.nonzero(image > 127)
        return torch.tensor([[columns.min(), rows.min(), columns.max() + 1.0, rows.max() + 1.0]], dtype=torch.float32)

    drawn = box_of(seen(weak, 80, 100))
    landed = project_boxes(drawn, between(weak, strong), (160, 200))
    torch.testing.assert_close(landed, box_of(seen(strong, 160, 200)), rtol=0, atol=2.0)
    wrong = project_boxes(drawn, between(strong, weak), (160, 200))
    assert (wrong - landed).abs().max() > 10
