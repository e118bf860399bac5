"""Label shares: the sizes the paper's code has, and the same images on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.data import splits
from repro.errors import DataError


@pytest.mark.parametrize("percent, count", [(1, 1183), (2, 2366), (5, 5914), (10, 11829), (100, 118287)])
def test_counts_for_coco(percent, count):
    assert len(splits.percent(range(118287), percent, 42)) == count


def test_the_same_images_everywhere():
    ids = splits.percent(range(0, 10000, 7), 1, 42)
    assert ids == [854, 882, 938, 2002, 4298, 4354, 5250, 6496, 6944, 7350, 7609, 7672, 8540, 9744]
    text = ",".join(map(str, splits.percent(range(118287), 10, 43)))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "243e1349948167b1"


@given(st.sets(st.integers(0, 10**9), min_size=10, max_size=200), st.integers(0, 10**6), st.randoms())
def test_order_of_ids_does_not_matter(ids, seed, shuffler):
    shuffled = list(ids)
    shuffler.shuffle(shuffled)
    chosen = splits.percent(shuffled, 30, seed)
    assert chosen == splits.percent(sorted(ids), 30, seed) == sorted(set(chosen))
    assert set(chosen) <= ids and len(chosen) == round(len(ids) * 0.3)


def test_seeds_differ():
    assert splits.percent(range(1000), 10, 1) != splits.percent(range(1000), 10, 2)


def test_global_random_state_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    splits.percent(range(100), 10, 0)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize("ids, percent", [(range(10), 0), (range(10), 101), (range(10), 1), ([1, 1, 2], 50)])
def test_impossible_shares_are_refused(ids, percent):
    with pytest.raises(DataError):
        splits.percent(ids, percent, 0)


def test_a_number_of_images_is_drawn_like_the_share_of_that_size():
    assert splits.number(range(1000), 100, 7) == splits.percent(range(1000), 10, 7)
    assert [len(splits.number(range(118287), count, 0)) for count in (32, 1024)] == [32, 1024]
    assert splits.number(range(10), 10, 3) == list(range(10))
    for count in (0, 11):
        with pytest.raises(DataError, match=f"{count} images cannot be drawn from 10"):
            splits.number(range(10), count, 0)


def test_lists_survive_a_file(tmp_path):
    ids = splits.percent(range(500), 10, 3)
    splits.save(tmp_path / "a.json", ids, percent=10, seed=3, dataset="shapes_tiny_train")
    assert splits.load(tmp_path / "a.json") == ids
    (tmp_path / "b.json").write_text('{"count": 3, "image_ids": [1, 2]}')
    with pytest.raises(DataError, match="damaged"):
        splits.load(tmp_path / "b.json")
    with pytest.raises(DataError):
        splits.load(tmp_path / "none.json")


def test_select_wants_every_id():
    records = [{"image_id": number} for number in range(5)]
    assert splits.select(records, [3, 1]) == [{"image_id": 1}, {"image_id": 3}]
    with pytest.raises(DataError, match="9"):
        splits.select(records, [3, 9])


# Sohn et al.'s protocol on 118,287 images. Draws and counts: the authors' script, and what later works report.
STAC_COUNTS = {
    1: [1174, 1175, 1174, 1174, 1175],
    2: [2329, 2346, 2342, 2337, 2343],
    5: [5764, 5772, 5756, 5766, 5762],
    10: [11285, 11261, 11234, 11262, 11235],
}


@pytest.mark.parametrize("percent, counts", STAC_COUNTS.items())
def test_folds_of_stac_have_the_published_sizes(percent, counts):
    assert [len(splits.stac(range(118287), percent, fold)) for fold in range(1, 6)] == counts


def test_folds_of_stac_are_drawn_in_the_order_of_the_file():
    order = list(range(118287, 0, -1))  # the first image of the file has the highest id
    chosen = splits.stac(order, 1, 1)
    assert chosen == sorted(chosen)
    assert set(chosen) >= {118287 - place for place in (98539, 77708, 5192, 98047, 50057)}  # first draws of fold 1
    assert chosen != splits.stac(sorted(order), 1, 1) and chosen != splits.stac(order, 1, 2)


def test_folds_of_stac_at_the_edges():
    assert splits.stac([5, 3, 4], 100, 1) == [3, 4, 5]
    with pytest.raises(DataError, match="no image"):
        splits.stac(range(99), 1, 1)
    with pytest.raises(DataError, match="not 0"):
        splits.stac(range(99), 0, 1)
