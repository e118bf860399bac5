"""Batches of labelled and unlabelled images, for semi-supervised training.

As with `repro.data.loader`, what stands in batch `i` follows from (seed, i), and how an image is augmented from (seed,
epoch, image id), whoever loads it and wherever a run starts. `repro.data.mixed_order` says which images they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import Dataset, Sampler

from repro.data.loader import AUGMENTATION, Key, Mapper, Phases, Record, TrainImages, open_loader
from repro.data.mixed_order import LABELLED, Mix, MixedOrder, Place
from repro.errors import DataError

UNLABELLED_AUGMENTATION = 5  # a stream of random numbers: images of two sets may have the same id


class MixedBatches(Sampler[list[Place]]):
    """Endless batches of one rank, from an iteration on: its shares, one after another."""

    def __init__(self, order: MixedOrder, start: int, rank: int, world: int) -> None:
        self.order, self.start = order, start
        shares = order.mix.shares
        self.own = slice(rank * shares // world, (rank + 1) * shares // world)

    def __iter__(self) -> Iterator[list[Place]]:
        iteration = self.start
        while True:
            yield [place for share in self.order.batch(iteration)[self.own] for place in share]
            iteration += 1


class MixedImages(Dataset):
    """Maps places to samples."""

    def __init__(self, labelled: TrainImages, unlabelled: TrainImages) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def __getitem__(self, place: Place) -> dict[str, Any]:
        images = self.labelled if place.source == LABELLED else self.unlabelled
        return images[Key(place.index, place.epoch, late=False)]


def mixed_loader(
    labelled: tuple[Sequence[Record], Mapper],
    unlabelled: tuple[Sequence[Record], Mapper],
    *,
    mix: Mix,
    seed: int,
    start_iteration: int = 0,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[list[dict[str, Any]]]:
    """Endless iterator over this rank's shares of the batches: samples of both kinds.

    Args:
        labelled: Images in an order that is the same everywhere, and what maps one to a sample.
        unlabelled: The same.
        mix: How batches are made up.
        seed: The run's seed.
        start_iteration: First iteration, 0 for a run from its beginning.
        workers: Processes that load; 0 loads in this one. Does not change what comes out.
        rank: Number of this process.
        world: Number of processes; must divide the number of shares.

    Raises:
        DataError: There is no image of one kind, or the shares cannot be dealt out evenly.
    """
    if mix.shares % world:
        raise DataError(
            f"a batch of {mix.shares} shares of {mix.share_size} images cannot be dealt out evenly to {world} processes"
        )
    order = MixedOrder((wide(labelled[0]), wide(unlabelled[0])), mix, seed)
    images = MixedImages(
        TrainImages(labelled[0], Phases(labelled[1]), seed, AUGMENTATION),
        TrainImages(unlabelled[0], Phases(unlabelled[1]), seed, UNLABELLED_AUGMENTATION),
    )
    return open_loader(images, MixedBatches(order, start_iteration, rank, world), [labelled, unlabelled], workers)


def wide(records: Sequence[Record]) -> list[bool]:
    """Of each image, whether it is wider than high."""
    return [record["width"] > record["height"] for record in records]
