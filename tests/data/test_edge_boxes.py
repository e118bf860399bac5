"""Edge Boxes: what a file of edges is needed for, and what the Sobel map finds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from repro.data.edge_boxes import MODEL, Settings, search, sobel
from repro.errors import DataError


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    pixels = np.full((120, 160, 3), 90, np.uint8)
    cv2.rectangle(pixels, (30, 20), (79, 89), (220, 60, 60), -1)
    cv2.circle(pixels, (120, 70), 28, (40, 200, 90), -1)
    return pixels


def test_a_sobel_map_finds_what_stands_out(image):
    boxes = search(image, 0, Settings(edges="sobel")).boxes
    for truth in ([30, 20, 80, 90], [92, 42, 149, 99]):
        corners = np.minimum(boxes[:, 2:], truth[2:]) - np.maximum(boxes[:, :2], truth[:2])
        both = np.clip(corners, 0, None).prod(1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (truth[2] - truth[0]) * (truth[3] - truth[1]) - both
        assert (both / area)[:50].max() > 0.7
    again = search(image, 1, Settings(edges="sobel")).boxes
    assert np.array_equal(boxes, again)
    assert (boxes >= 0).all() and (boxes[:, 2:] <= [160, 120]).all() and (boxes[:, 2:] > boxes[:, :2]).all()


def test_edges_are_thin_and_know_their_direction(image):
    edges, angle = sobel(image)
    assert edges.min() == 0 and edges.max() == 1 and ((angle >= 0) & (angle <= np.pi)).all()
    assert (edges[55, 20:40] > 0.05).sum() <= 3  # a step is an edge of a pixel or two
    assert abs(np.sin(angle[55, 29:31])).max() < 0.1  # brightness changes along x there
    assert not sobel(np.zeros((8, 8, 3), np.uint8))[0].any()


def test_the_limits_are_kept(image):
    few = search(image, 0, Settings(edges="sobel", max_boxes=7))
    assert 0 < len(few.boxes) <= 7
    areas = [
        (found[:, 2:] - found[:, :2]).prod(1).min()
        for found in (search(image, 0, Settings(edges="sobel", min_box_area=area)).boxes for area in (200, 4000))
    ]
    assert areas[0] < 400 < areas[1]  # a limit of the windows that boxes are refined from


def test_a_missing_model_says_what_to_download(image, monkeypatch, tmp_path):
    monkeypatch.setenv(MODEL, str(tmp_path / "gone.yml.gz"))
    with pytest.raises(DataError, match=r"model\.yml\.gz.*REPRO_EDGE_MODEL.*gone.*edges: sobel"):
        search(image, 0, Settings())


@pytest.mark.parametrize("values, words", [({"edges": "sobl"}, "Did you mean sobel"), ({"max_boxes": 0}, "positive")])
def test_wrong_settings_are_named(values, words):
    with pytest.raises(DataError, match=words):
        Settings(**values)
