"""A batch is a function of (seed, iteration): workers, ranks and restarts change nothing."""

from __future__ import annotations

import itertools
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repro.data.augmentations.detr import DetrAugmentation, ResizeShortEdge
from repro.data.augmentations.multi_scale import MultiScale
from repro.data.augmentations.rtdetr import RTDETRAugmentation
from repro.data.loader import Phases, batch, iterations_per_epoch, test_loader, train_loader
from repro.data.mapper import InferenceMapper, TrainMapper
from repro.errors import DataError


def mapper(**settings) -> TrainMapper:
    return TrainMapper(DetrAugmentation([48, 64], 96, [64, 80], (32, 64)), **settings)


def take(loader, count: int) -> list:
    """Everything that matters of some batches, comparable."""
    return [
        [
            (x["image_id"], x["image"].numpy().tobytes(), x["instances"].gt_boxes.tensor.tolist(), x["image"].shape)
            for x in samples
        ]
        for samples in itertools.islice(loader, count)
    ]


@pytest.fixture(scope="module")
def expected(smoke) -> list:
    return take(train_loader(smoke, mapper(), total_batch_size=4, seed=3), 9)


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_nothing(smoke, expected, workers):
    assert take(train_loader(smoke, mapper(), total_batch_size=4, seed=3, workers=workers), 9) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restart_goes_on_with_the_same_batches(smoke, expected, workers):
    resumed = train_loader(smoke, mapper(), total_batch_size=4, seed=3, start_iteration=5, workers=workers)
    assert take(resumed, 4) == expected[5:]


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_the_same_batches(smoke, expected, world):
    loaders = [
        train_loader(smoke, mapper(), total_batch_size=4, seed=3, rank=rank, world=world) for rank in range(world)
    ]
    shares = [take(loader, 9) for loader in loaders]
    assert [list(itertools.chain(*parts)) for parts in zip(*shares, strict=True)] == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_cached_images_change_nothing(smoke, expected, workers):
    cached = mapper(cache_images=True)
    assert take(train_loader(smoke, cached, total_batch_size=4, seed=3, workers=workers), 9) == expected
    assert len(cached.reader._images) == len(smoke)


def two_phases() -> Phases:
    strong = TrainMapper(RTDETRAugmentation((64, 64)))
    plain = TrainMapper(RTDETRAugmentation((48, 48), photometric=0.0, zoom_out=0.0, iou_crop=0.0))
    return Phases(strong, MultiScale([32, 64, 96, 128, 160]), plain, late_from=4)


def test_a_training_of_two_phases(smoke):
    """Batches of one side each until the last phase, and the same whoever loads them and wherever one starts."""
    expected = take(train_loader(smoke, two_phases(), total_batch_size=4, seed=3), 6)
    sides = [{shape[1:] for *_, shape in samples} for samples in expected]
    assert all(len(found) == 1 for found in sides)
    assert sides[4:] == [{(48, 48)}] * 2 and len({side for found in sides[:4] for side in found}) > 1
    assert take(train_loader(smoke, two_phases(), total_batch_size=4, seed=3, workers=2), 6) == expected
    resumed = train_loader(smoke, two_phases(), total_batch_size=4, seed=3, start_iteration=3)
    assert take(resumed, 3) == expected[3:]


def test_global_random_states_neither_matter_nor_change(smoke, expected):
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert take(train_loader(smoke, mapper(), total_batch_size=4, seed=3), 9) == expected
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_seeds_and_epochs_differ(smoke, expected):
    other = take(train_loader(smoke, mapper(), total_batch_size=4, seed=4), 9)
    assert [[x[0] for x in samples] for samples in other] != [[x[0] for x in samples] for samples in expected]
    seen = {}
    for image_id, pixels, *_ in itertools.chain(*expected):
        seen.setdefault(image_id, set()).add(pixels)
    assert max(len(views) for views in seen.values()) > 1  # another epoch, another view


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 2**40))
def test_an_epoch_sees_each_image_at_most_once(images, size, seed):
    epoch = iterations_per_epoch(images, size)
    pairs = [pair for iteration in range(epoch) for pair in batch(images, size, seed, iteration)]
    assert len(pairs) == epoch * size
    assert len(set(pairs)) == len(pairs)
    counts = np.bincount([index for index, _ in pairs], minlength=images)
    assert counts.max() - counts.min() <= 1
    assert {pair[1] for pair in pairs}.isdisjoint(pair[1] for pair in batch(images, size, seed, epoch))


def test_what_is_left_out_differs_from_epoch_to_epoch():
    left = [set(range(10)) - {i for k in (0, 1) for i, _ in batch(10, 4, 0, 2 * epoch + k)} for epoch in range(8)]
    assert len(set().union(*left)) > 4


def test_refused_images_are_replaced_alike_everywhere(smoke):
    class Picky:
        def __call__(self, record, rng):
            return {"image_id": record["image_id"], "draw": rng.random()} if record["image_id"] % 3 else None

    found = [[next(train_loader(smoke, Picky(), total_batch_size=16, seed=0, workers=workers))] for workers in (0, 2)]
    assert found[0] == found[1]
    assert all(x["image_id"] % 3 for x in found[0][0]) and len(found[0][0]) == 16
    with pytest.raises(DataError, match="refused"):
        next(train_loader(smoke, lambda record, rng: None, total_batch_size=2, seed=0))


def test_impossible_batches_are_refused(smoke):
    with pytest.raises(DataError, match="evenly"):
        train_loader(smoke, mapper(), total_batch_size=5, seed=0, world=2)
    with pytest.raises(DataError, match="no image"):
        train_loader([], mapper(), total_batch_size=5, seed=0)


@pytest.mark.parametrize("world", [1, 3])
def test_inference_sees_each_image_once_and_in_order(smoke, world):
    view = InferenceMapper(ResizeShortEdge(64, 96))
    seen = []
    for rank in range(world):
        loader = test_loader(smoke, view, batch_size=3, workers=0, rank=rank, world=world)
        batches = list(loader)
        assert len(batches) == len(loader)
        seen += [x["image_id"] for samples in batches for x in samples]
    assert seen == [record["image_id"] for record in smoke]


def test_workers_ignore_the_signals_of_the_scheduler(smoke):
    class Reporter:
        def __call__(self, record, rng):
            names = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
            return {"ignored": [signal.getsignal(name) == signal.SIG_IGN for name in names]}

    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        samples = next(train_loader(smoke, Reporter(), total_batch_size=2, seed=0, workers=1))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert samples == [{"ignored": [True, True, True]}] * 2
