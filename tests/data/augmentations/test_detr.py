"""The DETR augmentation: sizes as in the published code, pixels as PIL's, matrices that carry boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fvcore.transforms.transform import TransformList
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from repro.data.augmentations.detr import DetrAugmentation, ResizeShortEdge, resized
from repro.data.augmentations.geometry import Crop, Flip, Resize, ViewInput, matrix, to_tensor


@pytest.mark.parametrize(
    "size, short, limit, expected",
    [
        ((480, 640), 800, 1333, (800, 1066)),  # 1066.67 is cut off
        ((640, 480), 800, 1333, (1066, 800)),
        ((427, 640), 800, 1333, (800, 1199)),
        ((375, 1242), 800, 1333, (402, 1331)),  # round(402.48), and the longer side from that
        ((800, 1200), 800, 1333, (800, 1200)),
        ((500, 500), 320, None, (320, 320)),
    ],
)
def test_sizes_by_hand(size, short, limit, expected):
    assert resized(*size, short, limit) == expected


@given(st.integers(20, 2000), st.integers(20, 2000), st.integers(16, 800), st.integers(800, 1333))
def test_sizes_keep_limit_and_shape(height, width, short, limit):
    new = resized(height, width, short, limit)
    assert max(new) <= limit + max(height, width) / min(height, width)
    assert resized(width, height, short, limit) == new[::-1]
    assert min(new) <= short


def test_resize_is_that_of_pil():
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    pixels = np.array(Image.fromarray(pixels).resize((180, 120), Image.Resampling.BICUBIC))
    for height, width in ((40, 60), (77, 113), (200, 300)):
        ours = Resize(120, 180, height, width).apply_image(to_tensor(pixels)).permute(1, 2, 0).numpy()
        pils = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        assert abs(ours.astype(int) - pils).max() <= 2


def draw(seed: int, size=(100, 150), **settings) -> tuple[ViewInput, TransformList]:
    view = ViewInput(torch.zeros(3, *size, dtype=torch.uint8), np.zeros((0, 4)), np.random.default_rng(seed))
    return view, DetrAugmentation(**settings)(view)


SMALL = {"short_edges": [64, 80], "max_size": 110, "crop_short_edges": [70, 90], "crop_size": (48, 80)}


def test_each_way_is_taken_half_of_the_time():
    drawn = [draw(seed, **SMALL)[1].transforms for seed in range(400)]
    flips = sum(isinstance(steps[0], Flip) for steps in drawn)
    crops = sum(any(isinstance(step, Crop) for step in steps) for steps in drawn)
    assert 160 < flips < 240 and 160 < crops < 240
    shapes = {tuple(type(step).__name__ for step in steps) for steps in drawn}
    assert shapes == {
        ("Resize",),
        ("Flip", "Resize"),
        ("Resize", "Crop", "Resize"),
        ("Flip", "Resize", "Crop", "Resize"),
    }


def test_sizes_that_are_drawn():
    for seed in range(200):
        view, transform = draw(seed, **SMALL)
        crop = next((step for step in transform.transforms if isinstance(step, Crop)), None)
        if crop is not None:
            assert 48 <= crop.w <= 80 and 48 <= crop.h <= 80
            assert crop.x0 + crop.w <= crop.orig_w and crop.y0 + crop.h <= crop.orig_h
            assert min(crop.orig_h, crop.orig_w) in (70, 90)
        last = transform.transforms[-1]
        assert view.image.shape[1:] == (last.new_height, last.new_width)
        assert max(view.image.shape[1:]) <= 111


def test_images_smaller_than_the_crop_are_not_refused():
    for seed in range(40):
        view, _ = draw(seed, (30, 20), crop_short_edges=[10], crop_size=(384, 600), short_edges=[20], max_size=40)
        assert min(view.image.shape[1:]) > 0


def test_the_generator_decides_all():
    assert [repr(vars(s)) for s in draw(7, **SMALL)[1].transforms] == [
        repr(vars(s)) for s in draw(7, **SMALL)[1].transforms
    ]


@pytest.mark.parametrize("seed", range(10))
def test_the_matrix_carries_points_there_and_back(seed):
    _, transform = draw(seed, **SMALL)
    points = np.array([[0.0, 0.0], [10.0, 20.0], [150.0, 100.0]])
    to_view = matrix(transform)
    carried = (to_view @ np.c_[points, np.ones(3)].T).T[:, :2]
    assert np.allclose(carried, transform.apply_coords(points.copy()))
    back = (np.linalg.inv(to_view) @ np.c_[carried, np.ones(3)].T).T[:, :2]
    assert np.allclose(back, points)


def test_resize_can_be_undone():
    boxes = np.array([[10.0, 5.0, 40.0, 30.0]])
    forward = ResizeShortEdge(50, 200).get_transform(torch.zeros(3, 100, 160))
    assert np.allclose(forward.inverse().apply_box(forward.apply_box(boxes)), boxes)
