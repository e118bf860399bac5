"""Selective Search with an order that repeats."""

from __future__ import annotations

import numpy as np
import pytest

from repro.data.selective_search import Settings, contained, rank, search
from repro.errors import DataError, InstallError


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    from repro.data.datasets import shapes

    return shapes.image("tiny", "train", 5)[0]


@pytest.mark.parametrize("ranking", ["depth", "image_id"])
def test_the_order_repeats_and_depends_on_the_image(image, ranking):
    settings = Settings(size=64, ranking=ranking)
    first, again, other = (search(image, number, settings)[0] for number in (1, 1, 2))
    assert (first == again).all() and len(first) > 10
    assert (first != other).any()
    assert (np.unique(first, axis=0) == np.unique(other, axis=0)).all()


def test_opencvs_set_is_kept(image):
    ours, opencvs = (search(image, 1, Settings(size=64, ranking=ranking))[0] for ranking in ("depth", "opencv"))
    assert (np.unique(ours, axis=0) == np.unique(opencvs, axis=0)).all()


def test_boxes_lie_in_the_squashed_image(image):
    for size in (48, None):
        boxes, depth = search(image, 0, Settings(size=size, mode="single"))
        height, width = (size, size) if size else image.shape[:2]
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all() and len(depth) == len(boxes)
        assert (boxes == [0, 0, width, height]).all(1).any()  # the last merge is the whole image


def test_settings_change_the_boxes(image):
    sets = [
        {tuple(box) for box in search(image, 0, settings)[0]}
        for settings in (Settings(64), Settings(64, channel_order="BGR"), Settings(64, mode="single"), Settings(96))
    ]
    assert all(a != b for index, a in enumerate(sets) for b in sets[:index])
    assert (search(image, 0, Settings(64, max_boxes=5))[0] == search(image, 0, Settings(64))[0][:5]).all()


def test_depth_by_hand():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 5, 5], [2, 2, 4, 4], [6, 6, 9, 9], [0, 0, 20, 5]])
    assert contained(boxes).tolist() == [3, 1, 0, 0, 2]
    assert contained(boxes, chunk=2).tolist() == [3, 1, 0, 0, 2]
    assert contained(np.zeros((0, 4), int)).tolist() == []


def test_small_boxes_come_first_more_often():
    depth = np.arange(100)
    means = np.mean([rank(depth, np.random.default_rng(seed))[:30].mean() for seed in range(50)])
    plain = np.mean([rank(0 * depth, np.random.default_rng(seed))[:30].mean() for seed in range(50)])
    assert means < 0.9 * plain


@pytest.mark.parametrize(
    "values, words",
    [
        ({"mod": "fast"}, "Did you mean mode"),
        ({"mode": "fats"}, "Did you mean fast"),
        ({"ranking": "random"}, "no ranking"),
        ({"size": 0}, "positive"),
    ],
)
def test_wrong_settings_are_named(values, words):
    with pytest.raises(DataError, match=words):
        Settings.of(values)


def test_an_opencv_without_contrib_says_how_to_repair_it(image, monkeypatch):
    monkeypatch.delattr("cv2.ximgproc.segmentation.createSelectiveSearchSegmentation")
    with pytest.raises(InstallError, match="opencv-contrib-python"):
        search(image, 0, Settings(32))
