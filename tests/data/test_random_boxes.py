"""Random boxes: inside the image, drawn from its id, of UP-DETR's sizes."""

from __future__ import annotations

import numpy as np
import pytest

from repro.data.random_boxes import Settings, search
from repro.errors import DataError


@pytest.mark.parametrize("size", [(200, 300), (16, 40), (5, 9), (1, 1)])
def test_boxes_lie_in_the_image(size):
    boxes = search(np.zeros((*size, 3), np.uint8), 3, Settings(500)).boxes
    assert boxes.shape == (500, 4)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= size[::-1]).all() and (boxes[:, 2:] > boxes[:, :2]).all()


def test_sizes_and_places_are_uniform():
    boxes = search(np.zeros((108, 208, 3), np.uint8), 3, Settings(20_000)).boxes
    widths = boxes[:, 2] - boxes[:, 0]
    assert (widths.min(), widths.max()) == (8, 200) and abs(widths.mean() - 104) < 2
    narrow = boxes[widths < 20]
    assert abs(narrow[:, 0].mean() - (208 - 14) / 2) < 8


def test_the_image_id_decides():
    image = np.zeros((50, 50, 3), np.uint8)
    assert np.array_equal(search(image, 1, Settings()).boxes, search(image, 1, Settings()).boxes)
    assert not np.array_equal(search(image, 1, Settings()).boxes, search(image, 2, Settings()).boxes)
    with pytest.raises(DataError, match="positive"):
        Settings(0)
