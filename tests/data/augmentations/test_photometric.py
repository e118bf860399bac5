"""Colours on uint8 against torchvision's transform with the same draws."""

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from repro.data.augmentations.geometry import to_tensor
from repro.data.augmentations.photometric import Recolour

PEER = v2.RandomPhotometricDistort()
NOTHING = dict.fromkeys(
    ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor", "channel_permutation")
) | {"contrast_before": False}


def image():
    """Smooth colours, then every shade of grey, then noise."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.random((6, 8, 3), np.float32) * 255, (80, 60), interpolation=cv2.INTER_CUBIC)
    greys = np.repeat(np.arange(256, dtype=np.float32), 60).reshape(64, 80 * 3)[:, :80, None].repeat(3, 2)
    noise = rng.integers(0, 256, (40, 80, 3))
    return to_tensor(np.clip(np.concatenate([smooth, greys, noise]), 0, 255).astype(np.uint8))


def difference(drawn):
    picture = image()
    before = picture.clone()
    found, expected = Recolour(drawn).apply_image(picture), PEER.transform(picture, drawn)
    assert torch.equal(picture, before)  # which may be a cached image
    assert found.dtype == torch.uint8 and not torch.equal(expected, picture)
    return (found.int() - expected.int()).abs()


@pytest.mark.parametrize(
    "drawn",
    [
        {"brightness_factor": 0.875},
        {"brightness_factor": 1.125},
        {"channel_permutation": torch.tensor([2, 0, 1])},
        {"channel_permutation": torch.tensor([0, 2, 1])},
    ],
)
def test_what_is_equal(drawn):
    assert difference(NOTHING | drawn).max() == 0


@pytest.mark.parametrize("name", ["contrast_factor", "saturation_factor"])
@pytest.mark.parametrize("factor", [0.5, 0.9, 1.5])
def test_what_is_a_level_off_at_most(name, factor):
    found = difference(NOTHING | {name: factor})
    assert found.max() <= 1 and found.float().mean() < 0.5


@pytest.mark.parametrize("turn", [-0.05, -0.02, 0.01, 0.05])
def test_the_hue(turn):
    found = difference(NOTHING | {"hue_factor": turn})
    assert found.max() <= 2 and (found > 1).float().mean() < 1e-3


@pytest.mark.parametrize("before", [False, True])
def test_all_together(before):
    drawn = {
        "brightness_factor": 1.1,
        "contrast_factor": 1.3,
        "saturation_factor": 1.4,
        "hue_factor": 0.04,
        "channel_permutation": torch.tensor([1, 2, 0]),
        "contrast_before": before,
    }
    found = difference(drawn)
    assert found.max() <= 6 and (found > 3).float().mean() < 2e-3 and found.float().mean() < 0.4


@pytest.mark.parametrize("before", [False, True])
def test_a_part_is_cut_out_of_the_whole(before):
    """The contrast is about the mean of the whole image, wherever the part is."""
    drawn = NOTHING | {"brightness_factor": 0.9, "contrast_factor": 0.6, "contrast_before": before, "hue_factor": 0.03}
    pixels = image().permute(1, 2, 0).numpy()
    whole = Recolour(drawn).part(pixels, slice(0, len(pixels)), slice(0, 80))
    part = Recolour(drawn).part(pixels, slice(10, 90), slice(5, 40))
    assert np.array_equal(part, whole[10:90, 5:40])
