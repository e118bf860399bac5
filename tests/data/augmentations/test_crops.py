"""Crops for embedding targets, against torchvision's operations one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from repro.data.augmentations import crops
from repro.data.augmentations.crops import CropViews, Distortions


@pytest.fixture
def pixels() -> np.ndarray:
    """Three smooth colourful images, float32 [3, 24, 32, 3]."""
    rng = np.random.default_rng(0)
    grid = torch.from_numpy(rng.random((3, 3, 4, 5), np.float32) * 255)
    return functional.resize(grid, [24, 32]).permute(0, 2, 3, 1).numpy().copy()


@pytest.mark.parametrize(
    "kind, operation",
    [(0, functional.adjust_brightness), (1, functional.adjust_contrast), (2, functional.adjust_saturation)],
)
def test_jitters_against_torchvision(pixels, kind, operation):
    factors = np.array([0.6, 1.0, 1.37], np.float32)
    ours = crops.adjust(pixels.copy(), kind, factors)
    for image, factor, found in zip(pixels, factors, ours, strict=True):
        expected = operation(torch.from_numpy(image / 255).permute(2, 0, 1), float(factor)).permute(1, 2, 0) * 255
        assert np.abs(found - expected.numpy()).max() < 0.3


def test_hue_against_torchvision(pixels):
    shifts = np.array([-0.1, 0.0, 0.07], np.float32)
    ours = crops.shift_hue(pixels.copy(), shifts)
    for image, shift, found in zip(pixels, shifts, ours, strict=True):
        expected = functional.adjust_hue(torch.from_numpy(image / 255).permute(2, 0, 1), float(shift))
        assert np.abs(found - 255 * expected.permute(1, 2, 0).numpy()).max() < 0.3


def test_distortions_are_applied_in_the_order_drawn(pixels):
    factors = np.array([[0.7, 1.3, 0.8], [1, 1, 1], [1.2, 0.6, 1.4]], np.float32)
    hues = np.array([0.1, 0, -0.1], np.float32)
    no = np.zeros(3, bool)
    results = []
    for order in ([3, 0, 2, 1], [1, 2, 0, 3]):
        expected = pixels.copy()
        for kind in order:
            expected = crops.shift_hue(expected, hues) if kind == 3 else crops.adjust(expected, kind, factors[:, kind])
        drawn = Distortions(np.array(order), factors, hues, no, np.zeros(3))
        results.append(CropViews._distort(pixels.copy(), drawn))
        assert np.abs(results[-1] - expected).max() <= 0.51
        assert np.abs(results[-1][1] - pixels[1]).max() <= 0.51
    assert (results[0] != results[1]).any()


def plain(size: int, **settings) -> CropViews:
    off = {"jitter_probability": 0, "grey_probability": 0, "blur_probability": 0}
    return CropViews(size, **{**off, **settings})


@pytest.fixture
def image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 255, (3, 50, 70), dtype=np.uint8))


def test_a_crop_is_the_box_resized(image):
    found = plain(16)(image, np.array([[10.7, 5.2, 41.3, 36.1], [0.2, 0.2, 0.4, 0.4]]), np.random.default_rng(0))
    assert found.shape == (2, 3, 16, 16) and found.dtype == torch.uint8
    assert (found[0] == functional.resize(image[:, 5:37, 10:42], [16, 16], antialias=True)).all()
    assert (found[1] == image[:, :1, :1]).all()  # a box within one pixel is that pixel


def test_boxes_at_the_edge_are_never_empty(image):
    boxes = np.array([[69.9, 49.9, 70.0, 50.0], [70.0, 50.0, 70.0, 50.0], [-3.0, -2.0, 0.0, 0.0]])
    assert plain(8)(image, boxes, np.random.default_rng(0)).shape == (3, 3, 8, 8)


def test_no_boxes_no_crops(image):
    assert plain(8)(image, np.zeros((0, 4)), np.random.default_rng(0)).shape == (0, 3, 8, 8)


def test_grey_and_blur(image):
    box = np.array([[0.0, 0.0, 70.0, 50.0]])
    grey = plain(24, grey_probability=1)(image, box, np.random.default_rng(0))
    assert (grey[:, 0] == grey[:, 1]).all() and (grey[:, 0] == grey[:, 2]).all()
    sharp = plain(24)(image, box, np.random.default_rng(0)).float()
    soft = plain(24, blur_probability=1, blur_radius=(2, 2))(image, box, np.random.default_rng(0)).float()
    assert soft.std() < 0.5 * sharp.std() and abs(soft.mean() - sharp.mean()) < 2
    expected = functional.gaussian_blur(sharp[0], [17, 17], [2.0, 2.0])
    assert (soft[0] - expected).abs().max() <= 2


def test_probabilities(image):
    boxes = np.tile([[5.0, 5.0, 25.0, 25.0]], (300, 1))
    still = plain(4)(image, boxes[:1], np.random.default_rng(0))
    jittered = plain(4, jitter_probability=0.8)(image, boxes, np.random.default_rng(0))
    changed = (jittered != still).flatten(1).any(1).float().mean()
    assert 0.7 < changed < 0.9
    assert len({tuple(crop.flatten().tolist()) for crop in jittered}) > 200  # each with a draw of its own


def test_the_same_generator_gives_the_same_crops_however_many_are_handled_at_a_time(image, monkeypatch):
    boxes = np.random.default_rng(0).uniform(0, 50, (9, 4))
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    whole = CropViews(16)(image, boxes, np.random.default_rng(4))
    monkeypatch.setattr(crops, "TOGETHER", 300)
    assert (CropViews(16)(image, boxes, np.random.default_rng(4)) == whole).all()
