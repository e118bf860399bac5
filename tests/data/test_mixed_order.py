"""Batches of two kinds: what each must hold, how often, and that any iteration can be had without those before it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.data.mixed_order import BLOCK, LABELLED, UNLABELLED, Mix, MixedOrder
from repro.errors import DataError

RNG = np.random.default_rng(5)
WIDE = (RNG.random(117) < 0.7, RNG.random(1061) < 0.75)
PARTIAL, FULL = Mix(40, 5), Mix(64, 8, (1, 1))


def kinds(share):
    return Counter(place.source for place in share)


@pytest.mark.parametrize("mix, mean", [(PARTIAL, 1.327), (FULL, 4.0)])
def test_labelled_images_of_a_share(mix, mean):
    """By probability, and never all of one kind: the means are those of the published settings."""
    order = MixedOrder(WIDE, mix, seed=1)
    counts = [kinds(share)[LABELLED] for iteration in range(1500) for share in order.batch(iteration)]
    assert min(counts) == 1 and 2 < max(counts) <= mix.share_size - 1
    assert np.mean(counts) == pytest.approx(mean, abs=4 * np.std(counts) / len(counts) ** 0.5)
    assert np.mean(counts) == pytest.approx(mean, rel=0.02)


def test_an_exact_ratio_is_exact():
    order = MixedOrder(WIDE, Mix(40, 5, by_probability=False), seed=1)
    assert {kinds(share)[LABELLED] for iteration in range(50) for share in order.batch(iteration)} == {1}
    order = MixedOrder(WIDE, Mix(8, 4, (1, 1), by_probability=False), seed=1)
    assert {kinds(share)[LABELLED] for iteration in range(50) for share in order.batch(iteration)} == {2}


def test_a_share_has_one_shape_and_shapes_are_as_frequent_as_their_images():
    order = MixedOrder(WIDE, PARTIAL, seed=2)
    shapes = []
    for iteration in range(2000):
        for share in order.batch(iteration):
            found = {bool(WIDE[place.source][place.index]) for place in share}
            assert len(found) == 1
            shapes += found
    expected = (WIDE[0].sum() + WIDE[1].sum()) / (len(WIDE[0]) + len(WIDE[1]))
    assert np.mean(shapes) == pytest.approx(expected, abs=0.02)
    assert round(BLOCK * 8 * expected) == order._block(0).wide.sum()  # exactly so in a block


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 60), st.integers(2, 6), st.integers(1, 3), st.integers(0, 2**40))
def test_each_image_is_seen_before_any_is_seen_again(labelled, unlabelled, size, shares, seed):
    rng = np.random.default_rng(seed)
    wide = rng.random(labelled) < 0.5, rng.random(unlabelled) < 0.5
    order = MixedOrder(wide, Mix(size * shares, size), seed)
    seen = [Counter(), Counter()]
    for iteration in range(40):
        for share in order.batch(iteration):
            assert set(kinds(share)) == {LABELLED, UNLABELLED} and len(share) == size
            for source, index, epoch in share:
                assert seen[source][index] == epoch  # the number that its augmentation is drawn from
                seen[source][index] += 1
    for source, groups in enumerate(order.members):
        for group in groups:
            counts = [seen[source][int(index)] for index in group]
            assert not counts or max(counts) - min(counts) <= 1


def test_an_iteration_does_not_depend_on_what_was_asked_before():
    order = MixedOrder(WIDE, PARTIAL, seed=3)
    straight = [order.batch(iteration) for iteration in range(BLOCK - 5, BLOCK + 5)]
    asked = [3 * BLOCK + 17, BLOCK + 4, BLOCK - 5, 0, BLOCK]
    for iteration in asked:
        fresh = MixedOrder(WIDE, PARTIAL, seed=3).batch(iteration)
        assert order.batch(iteration) == fresh
        if BLOCK - 5 <= iteration < BLOCK + 5:
            assert fresh == straight[iteration - BLOCK + 5]
    assert MixedOrder(WIDE, PARTIAL, seed=4).batch(0) != order.batch(0)


def test_blocks_follow_one_another_without_a_gap():
    """Images go on at the start of a block where the one before it left them."""
    order = MixedOrder(WIDE, Mix(5, 5), seed=3)
    last = {}
    for iteration in range(BLOCK - 300, BLOCK + 300):
        for source, index, epoch in order.batch(iteration)[0]:
            assert epoch == last.get((source, index), epoch - 1) + 1
            last[source, index] = epoch


def test_a_shape_that_one_kind_lacks_is_not_kept_apart():
    order = MixedOrder(([True, True, True], [True, False, False, True]), Mix(4, 4), seed=0)
    shapes = [{place.index for place in order.batch(i)[0] if place.source == UNLABELLED} for i in range(20)]
    assert set.union(*shapes) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((40, 1), "at least 2"),
        ((41, 5), "does not consist"),
        ((40, 5, (0, 4)), "two numbers from 1"),
        ((40, 8, (1, 4), False), "cannot be exactly 1 : 4"),
    ],
)
def test_impossible_mixes_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        Mix(*arguments)


def test_a_kind_without_images_is_refused():
    with pytest.raises(DataError, match="no unlabelled image"):
        MixedOrder(([True], []), Mix(4, 4), 0)
