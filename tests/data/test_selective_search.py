"""Selective Search with an order that repeats."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from repro.data.candidates import rank
from repro.data.selective_search import Settings, contained, search
from repro.errors import DataError, InstallError
from repro.ops import selective_search as operator

needs_operator = pytest.mark.skipif(not operator.available(), reason="selective_search is not built: repro ops build")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    from repro.data.datasets import shapes

    return shapes.image("tiny", "train", 5)[0]


@pytest.mark.parametrize("ranking", ["depth", "image_id"])
def test_the_order_repeats_and_depends_on_the_image(image, ranking):
    settings = Settings(size=64, ranking=ranking)
    first, again, other = (search(image, number, settings).boxes for number in (1, 1, 2))
    assert (first == again).all() and len(first) > 10
    assert (first != other).any()
    assert (np.unique(first, axis=0) == np.unique(other, axis=0)).all()


def test_opencvs_set_is_kept(image):
    ours, opencvs = (search(image, 1, Settings(size=64, ranking=ranking)).boxes for ranking in ("depth", "opencv"))
    assert (np.unique(ours, axis=0) == np.unique(opencvs, axis=0)).all()


def test_boxes_lie_in_the_squashed_image(image):
    for size in (48, None):
        boxes, counts, depth = search(image, 0, Settings(size=size, mode="single"))
        height, width = (size, size) if size else image.shape[:2]
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all() and len(depth) == len(counts) == len(boxes)
        assert (boxes == [0, 0, width, height]).all(1).any()  # the last merge is the whole image


def test_settings_change_the_boxes(image):
    sets = [
        {tuple(box) for box in search(image, 0, settings).boxes}
        for settings in (Settings(64), Settings(64, channel_order="BGR"), Settings(64, mode="single"), Settings(96))
    ]
    assert all(a != b for index, a in enumerate(sets) for b in sets[:index])
    assert (search(image, 0, Settings(64, max_boxes=5)).boxes == search(image, 0, Settings(64)).boxes[:5]).all()


def test_depth_by_hand():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 5, 5], [2, 2, 4, 4], [6, 6, 9, 9], [0, 0, 20, 5]])
    assert contained(boxes).tolist() == [3, 1, 0, 0, 2]
    assert contained(boxes, chunk=2).tolist() == [3, 1, 0, 0, 2]
    assert contained(np.zeros((0, 4), int)).tolist() == []


def test_small_boxes_come_first_more_often():
    depth, ones = np.arange(100), np.ones(100, int)
    means, plain = (
        np.mean([rank(ones, depth, ranking, np.random.default_rng(seed))[:30].mean() for seed in range(50)])
        for ranking in ("depth", "image_id")
    )
    assert means < 0.9 * plain


@pytest.mark.parametrize(
    "values, words",
    [
        ({"mode": "fats"}, "Did you mean fast"),
        ({"ranking": "random"}, "no ranking"),
        ({"engine": "opencvv"}, "Did you mean opencv"),
        ({"engine": "native", "ranking": "opencv"}, "engine native has no ranking opencv"),
        ({"size": 0}, "positive"),
    ],
)
def test_wrong_settings_are_named(values, words):
    with pytest.raises(DataError, match=words):
        Settings(**values)


def test_an_opencv_without_contrib_says_how_to_repair_it(image, monkeypatch):
    monkeypatch.delattr("cv2.ximgproc.segmentation.createSelectiveSearchSegmentation")
    with pytest.raises(InstallError, match="opencv-contrib-python"):
        search(image, 0, Settings(32))


@needs_operator
def test_engines_find_the_same_boxes(image):
    for ranking in ("depth", "image_id"):
        opencv, native = (
            search(image, 1, Settings(64, engine=engine, ranking=ranking)) for engine in ("opencv", "native")
        )
        assert all(np.array_equal(a, b) for a, b in zip(opencv, native, strict=True))


@needs_operator
def test_levels_of_all_regions_are_kept(image):
    found = search(image, 1, Settings(64, engine="native", ranking="level"))
    boxes, levels = operator.selective_search(cv2.resize(image, (64, 64)))
    assert found.counts.sum() == len(levels) > len(found.boxes)
    starts = np.cumsum(found.counts) - found.counts
    for box, start, count in list(zip(found.boxes, starts, found.counts, strict=True))[:20]:
        expected = sorted(levels[(boxes == box).all(1)].tolist())
        assert found.levels[start : start + count].tolist() == expected


@needs_operator
def test_our_order_is_opencvs_in_distribution(image):
    """How large the first ten boxes are, on average over many orders: OpenCV's hidden levels are ours."""

    def first(boxes):
        return ((boxes[:10, 2:] - boxes[:10, :2]).prod(1) ** 0.5).mean()

    native = [
        first(search(image, number, Settings(64, engine="native", ranking="level")).boxes) for number in range(60)
    ]
    opencv = [first(search(image, number, Settings(64, ranking="opencv")).boxes) for number in range(60)]
    assert abs(np.mean(native) - np.mean(opencv)) < 4 * np.hypot(np.std(native), np.std(opencv)) / 60**0.5


def test_an_operator_that_is_not_built_says_how_to_go_on(image, monkeypatch):
    monkeypatch.setattr(operator, "available", lambda: False)
    with pytest.raises(InstallError, match="engine: opencv"):
        search(image, 0, Settings(32, engine="native", ranking="level"))
