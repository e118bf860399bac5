"""Boxes with the levels of their regions: sharing, ordering and ranking, by hand and by counting."""

from __future__ import annotations

import numpy as np
import pytest

from repro.data.candidates import WEIGHTS, distinct, rank, single, squashed

BOXES = np.array([[4, 4, 9, 9], [0, 0, 9, 9], [4, 4, 9, 9], [0, 0, 2, 2], [4, 4, 9, 9]])
LEVELS = np.array([3, 7, 1, 1, 2])


def test_regions_that_share_a_box_become_one_candidate():
    found = distinct(BOXES, LEVELS)
    assert found.boxes.tolist() == [[0, 0, 2, 2], [0, 0, 9, 9], [4, 4, 9, 9]]
    assert found.counts.tolist() == [1, 1, 3] and found.levels.tolist() == [1, 7, 1, 2, 3]
    again = distinct(BOXES[::-1], LEVELS[::-1])
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    nothing = distinct(np.zeros((0, 4), int), np.zeros(0, int))
    assert nothing.boxes.shape == (0, 4) and not len(nothing.counts) and not len(nothing.levels)


def test_levels_follow_their_boxes():
    found = distinct(BOXES, LEVELS).ordered(np.array([2, 0]))
    assert found.boxes.tolist() == [[4, 4, 9, 9], [0, 0, 2, 2]]
    assert found.counts.tolist() == [3, 1] and found.levels.tolist() == [1, 2, 3, 1]
    assert found.ordered(np.array([], int)).levels.tolist() == []


def test_a_box_is_as_good_as_the_luckiest_of_its_regions():
    """P(box with levels 1, 2, 3 beats a box with level 7) by integration of the least of three draws."""
    counts, levels = np.array([3, 1]), np.array([1, 2, 3, 7])
    wins = np.mean([rank(counts, levels, "level", np.random.default_rng(seed))[0] == 0 for seed in range(4000)])
    grid = (np.arange(100_000) + 0.5) / 100_000 * 7  # where the other box's rank falls
    least_above = np.prod([np.clip(1 - grid / level, 0, 1) for level in (1, 2, 3)], axis=0)
    assert abs(wins - (1 - least_above.mean())) < 0.02


def test_rankings_without_levels_and_orders_that_stay():
    counts, levels = np.ones(50, int), np.arange(50)
    assert rank(counts, levels, "score", np.random.default_rng(0)).tolist() == list(range(50))
    assert rank(counts[:0], levels[:0], "level", np.random.default_rng(0)).tolist() == []
    for ranking, expected in (("image_id", 24.5), ("depth", 20), ("level", 14)):
        means = [rank(counts, levels, ranking, np.random.default_rng(seed))[:10].mean() for seed in range(300)]
        assert abs(np.mean(means) - expected) < 4, ranking
    assert set(WEIGHTS) == {"level", "depth", "opencv", "image_id"}


def test_squashing_and_channels():
    image = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    assert np.array_equal(squashed(image, None, "BGR"), image[..., ::-1])
    assert squashed(image, 4, "RGB").shape == (4, 4, 3)
    assert single(BOXES).counts.tolist() == [1] * 5


@pytest.mark.parametrize("ranking", WEIGHTS)
def test_equal_seeds_give_equal_orders(ranking):
    first, again = (rank(np.array([2, 1]), np.array([1, 4, 2]), ranking, np.random.default_rng(5)) for _ in range(2))
    assert first.tolist() == again.tolist()
