"""STAC's strong augmentation: where boxes and pixels go, what patches are, and when nothing is augmented."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fvcore.transforms.transform import NoOpTransform

from repro.data.augmentations import stac
from repro.data.augmentations.affine import Affine
from repro.data.augmentations.geometry import Flip
from repro.data.augmentations.soft_teacher import Erase
from repro.data.augmentations.stac import InBox, StrongAugmentation, sheared

SIZES = {"short_edges": (80, 80), "max_size": 200}
BOX = np.array([[50.0, 30, 90, 60]])


def painted(height=100, width=150, box=BOX[0]):
    """A black image with a white rectangle."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    x0, y0, x1, y1 = (int(value) for value in box)
    image[:, y0:y1, x0:x1] = 255
    return image


def draws(count, boxes=BOX, **settings):
    augmentation, image = StrongAugmentation(**{**SIZES, **settings}), painted()
    return [augmentation.get_transform(image, boxes, np.random.default_rng(seed), "RGB") for seed in range(count)]


def test_a_box_goes_where_its_object_goes():
    """Of the whole image the object's hull follows; of a box's content the box stays."""
    augmentation, seen = StrongAugmentation(**SIZES), set()
    for seed in range(60):
        geometry = augmentation.geometry(np.random.default_rng(seed), BOX, 100, 150)
        (box,) = geometry.apply_box(BOX)
        if isinstance(geometry, InBox):
            assert np.array_equal(box, BOX[0])
            continue
        rows, columns = np.nonzero(geometry.apply_image(painted())[0].numpy() > 190)
        hull = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        limits = [150, 100, 150, 100]
        assert np.abs(np.clip(box, 0, limits) - hull).max() < 2.5, seed
        linear = geometry.matrix[:, :2]
        kind = (
            "move"
            if np.allclose(linear, np.eye(2))
            else "turn"
            if np.allclose(linear.T @ linear, np.eye(2))
            else "shear"
        )
        seen.add((kind, geometry.nearest))
    assert seen == {(kind, nearest) for kind in ("move", "turn", "shear") for nearest in (False, True)}


def test_what_a_box_shows_moves_within_it():
    image = torch.randint(256, (3, 100, 150), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inner = Affine(np.array([[1.0, 0, 7], [0, 1, 0]]), 30, 40)
    moved = InBox((50, 30, 90, 60), inner).apply_image(image)
    expected = image.clone()
    expected[:, 30:60, 57:90] = image[:, 30:60, 50:83]
    expected[:, 30:60, 50:57] = 125
    assert torch.equal(moved, expected)


def test_a_box_beside_the_image_moves_nothing():
    augmentation = StrongAugmentation(**SIZES)
    for seed in range(20):
        geometry = augmentation.geometry(np.random.default_rng(seed), np.array([[-30.0, 5, -10, 9]]), 100, 150)
        assert not isinstance(geometry, InBox)


def test_a_shear_by_hand():
    x, y = math.radians(30), math.radians(-20)
    matrix = sheared(x, y, 100, 150)
    middle = np.array([74.5, 49.5])
    assert matrix[:, :2] @ middle + matrix[:, 2] == pytest.approx(middle)
    # (0, 1) leans by the first angle, and keeps its length; so does (1, 0) by the second, before that.
    assert matrix[:, :2] @ [0, 1] == pytest.approx([-0.5, math.cos(x)])
    along_y = np.array([math.cos(y), math.sin(y)])
    assert matrix[:, :2] @ [1, 0] == pytest.approx([along_y[0] - 0.5 * along_y[1], math.cos(x) * along_y[1]])
    assert sheared(0.0, 0.0, 100, 150) == pytest.approx(np.eye(2, 3))


def test_patches_are_squares_of_nothing_or_a_fifth_of_the_height():
    augmentation = StrongAugmentation(**SIZES)
    counts, sides = [], []
    for seed in range(400):
        erase = augmentation.cutout(np.random.default_rng(seed), 100, 150)
        assert erase.fill == 128
        counts.append(len(erase.patches))
        for x0, y0, x1, y1 in erase.patches:
            assert 0 <= x0 <= x1 <= 150 and 0 <= y0 <= y1 <= 100
            if x0 > 0 and x1 < 150 and y0 > 0 and y1 < 100:
                sides += [x1 - x0, y1 - y0]
            else:
                assert max(x1 - x0, y1 - y0) <= 20
    assert set(counts) == {1, 2, 3, 4, 5}
    assert set(sides) == {0, 20}
    assert 0.4 < np.mean(np.array(sides) == 0) < 0.6  # the edges of the image are seldom near those without a size


def test_parts_come_in_their_order():
    orders = set()
    for made in draws(60, flip=0.5):
        resize, flip, *strong, last = made.transforms
        assert (resize.new_height, resize.new_width) == (80, 120)
        assert isinstance(flip, Flip | NoOpTransform) and isinstance(last, Erase)
        orders.add((isinstance(flip, Flip), isinstance(strong[0], Affine | InBox)))
        assert sum(isinstance(part, Affine | InBox) for part in strong) == 1 and len(strong) == 2
    assert len(orders) == 4  # mirrored or not, geometry first or colour first
    assert all(isinstance(made.transforms[1], NoOpTransform) for made in draws(30, flip=0.0))


def test_boxes_that_leave_the_image_leave_the_resized_one():
    for made in draws(40, translate=5.0, degrees=0.0):
        whole = next((part for part in made.transforms[2:] if isinstance(part, Affine)), None)
        if whole is not None:  # turned by nothing, or moved by less than an image
            box = np.clip(whole.apply_box(BOX * 0.8), 0, [120, 80, 120, 80])[0]
            assert (box[2:] > box[:2]).all()
    assert any(len(made.transforms) == 2 for made in draws(40, translate=5.0, degrees=0.0))
    assert all(len(made.transforms) == 2 for made in draws(5, boxes=np.zeros((0, 4))))


def test_colours_are_asked_for_as_stac_asks(monkeypatch):
    asked = []

    def colour(rng, channels, inverse_solarize):
        asked.append((channels, inverse_solarize))
        return NoOpTransform()

    monkeypatch.setattr(stac, "colour", colour)
    draws(1)
    assert asked == [("BGR", True)]  # of an RGB image: the published code hands BGR to what expects RGB
