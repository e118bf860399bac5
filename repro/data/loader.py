"""Batches that are a pure function of (seed, iteration).

Which images stand in batch `i`, and in which order, follows from the seed and `i`; how an image is augmented follows
from (seed, epoch, image id). Neither depends on the number of workers or ranks, nor on what came before: a run that
starts at iteration `i` sees what an uninterrupted run sees there. Detectron2's samplers and mappers do not promise that
(their augmentation draws from the state of the worker process).

An epoch is a permutation seeded by (seed, epoch); what does not fill a batch at its end is left out, as DETReg's code
does (`drop_last`), and differs from epoch to epoch. A set smaller than a batch is repeated, with another permutation
and other augmentations each time, until the batch is full.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from repro.errors import DataError

Record = dict[str, Any]
Mapper = Callable[[Record, np.random.Generator], "dict[str, Any] | None"]
BatchTransform = Callable[[list[dict[str, Any]], np.random.Generator], list[dict[str, Any]]]

ORDER, AUGMENTATION, BATCH = 0, 1, 2  # streams of random numbers that must not meet
REPLACEMENTS = 100  # other images to try when a mapper refuses one


def iterations_per_epoch(images: int, total_batch_size: int) -> int:
    """Batches in an epoch: at least one."""
    return max(images // total_batch_size, 1)


@lru_cache(maxsize=4)
def permutation(images: int, seed: int, epoch: int) -> np.ndarray:
    """Order of an epoch."""
    return np.random.default_rng([ORDER, seed, epoch]).permutation(images)


def batch(images: int, total_batch_size: int, seed: int, iteration: int) -> list[tuple[int, int]]:
    """The (index, epoch) pairs of one batch over all ranks."""
    if images >= total_batch_size:
        epoch, position = divmod(iteration, images // total_batch_size)
        start = position * total_batch_size
        order = permutation(images, seed, epoch)
        return [(int(index), epoch) for index in order[start : start + total_batch_size]]
    rounds = -(-total_batch_size // images)
    epochs = range(iteration * rounds, (iteration + 1) * rounds)
    pairs = [(int(index), epoch) for epoch in epochs for index in permutation(images, seed, epoch)]
    return pairs[:total_batch_size]


class Key(NamedTuple):
    """What a sample follows from, beside the seed."""

    index: int
    epoch: int
    late: bool
    """Whether it belongs to the second phase of a training, see `Phases`."""


class Phases(NamedTuple):
    """How samples are made, first and from an iteration on."""

    mapper: Mapper
    batch_transform: BatchTransform | None = None
    """Changes the samples of a process's batch together. Drawn for each batch and process, from what is in it."""
    late_mapper: Mapper | None = None
    """Takes the place of both, from ``late_from`` on."""
    late_from: int | None = None


class Batches(Sampler[list[Key]]):
    """Endless batches of one rank, from an iteration on; those from ``late_from`` on are marked."""

    def __init__(
        self,
        images: int,
        total_batch_size: int,
        seed: int,
        start: int,
        rank: int,
        world: int,
        late_from: int | None = None,
    ) -> None:
        self.images, self.total, self.seed, self.start = images, total_batch_size, seed, start
        self.share = slice(rank * total_batch_size // world, (rank + 1) * total_batch_size // world)
        self.late_from = late_from

    def __iter__(self) -> Iterator[list[Key]]:
        iteration = self.start
        while True:
            late = self.late_from is not None and iteration >= self.late_from
            yield [Key(*pair, late) for pair in batch(self.images, self.total, self.seed, iteration)[self.share]]
            iteration += 1


class TrainImages(Dataset):
    """Maps the keys of a batch to its samples."""

    def __init__(self, records: Sequence[Record], phases: Phases, seed: int, stream: int = AUGMENTATION) -> None:
        self.records, self.phases, self.seed, self.stream = records, phases, seed, stream

    def __getitems__(self, keys: list[Key]) -> list[dict[str, Any]]:
        """The samples of a batch; torch's loader asks for all of them at once."""
        samples = [self[key] for key in keys]
        if self.phases.batch_transform is None or keys[0].late:
            return samples
        first = self.records[keys[0].index]["image_id"]
        return self.phases.batch_transform(samples, np.random.default_rng([BATCH, self.seed, keys[0].epoch, first]))

    def __getitem__(self, key: Key) -> dict[str, Any]:
        record = self.records[key.index]
        mapper = self.phases.late_mapper if key.late else self.phases.mapper
        rng = np.random.default_rng([self.stream, self.seed, key.epoch, record["image_id"]])
        for _ in range(REPLACEMENTS):
            found = mapper(record, rng)
            if found is not None:
                return found
            record = self.records[int(rng.integers(len(self.records)))]
        raise DataError(f"{REPLACEMENTS} images one after another were refused by {type(mapper).__name__}")


class InferenceImages(Dataset):
    """Maps a position to a sample."""

    def __init__(self, records: Sequence[Record], mapper: Callable[[Record], dict[str, Any]]) -> None:
        self.records, self.mapper = records, mapper

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.mapper(self.records[index])


def train_loader(
    records: Sequence[Record],
    mapper: Mapper,
    *,
    total_batch_size: int,
    seed: int,
    start_iteration: int = 0,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[list[dict[str, Any]]]:
    """Endless iterator over this rank's share of the batches.

    Args:
        records: Images, in an order that is the same everywhere (data sets return them by id).
        mapper: Maps a record and a random generator to a sample. A mapper that returns None refuses the image; another
            one, drawn from the same generator, takes its place. Several for one training are `Phases`.
        total_batch_size: Images in a batch over all ranks.
        seed: The run's seed.
        start_iteration: First iteration, 0 for a run from its beginning.
        workers: Processes that load; 0 loads in this one. Does not change what comes out.
        rank: Number of this process.
        world: Number of processes; must divide the batch.

    Raises:
        DataError: There are no records, or the batch cannot be shared out evenly.
    """
    if not records:
        raise DataError("there is no image to train on")
    if total_batch_size < 1 or total_batch_size % world:
        raise DataError(f"a total batch of {total_batch_size} images cannot be shared evenly by {world} processes")
    phases = mapper if isinstance(mapper, Phases) else Phases(mapper)
    batches = Batches(len(records), total_batch_size, seed, start_iteration, rank, world, phases.late_from)
    mapped = [(records, each) for each in (phases.mapper, phases.late_mapper)]
    return open_loader(TrainImages(records, phases, seed), batches, mapped, workers)


def open_loader(
    images: Dataset, batches: Sampler[Any], mapped: Sequence[tuple[Sequence[Record], Any]], workers: int
) -> Iterator[list[dict[str, Any]]]:
    """Start loading.

    Args:
        images: Maps what `batches` yields.
        batches: Endless.
        mapped: Records and their mappers. Those that keep images decode them now, so that workers share them.
        workers: Processes; 0 loads in this one.
    """
    for records, mapper in mapped:
        reader = getattr(mapper, "reader", None)
        if reader is not None and workers:
            reader.preload(records)
    loader = DataLoader(
        images, batch_sampler=batches, num_workers=workers, collate_fn=as_list, worker_init_fn=calm_worker
    )
    return iter(loader)


def test_loader(
    records: Sequence[Record],
    mapper: Callable[[Record], dict[str, Any]],
    *,
    batch_size: int = 1,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
) -> DataLoader:
    """Loader over this rank's share of the images, each of them once; its length is its number of batches.

    Ranks get neighbouring images (the first ones, the next ones, …), so that putting their results one after another
    restores the order.
    """
    share = records[rank * len(records) // world : (rank + 1) * len(records) // world]
    return DataLoader(
        InferenceImages(share, mapper),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=as_list,
        worker_init_fn=calm_worker,
    )


test_loader.__test__ = False  # pytest would take it for a test by its name


def as_list(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A batch is the list of its samples: images differ in size, and models pad."""
    return samples


def calm_worker(worker: int) -> None:
    """Let a worker process use one thread and ignore the signals that SLURM sends to every process of a job.

    A worker that inherited submitit's handler would requeue the job once more for itself.
    """
    import cv2

    cv2.setNumThreads(0)
    for name in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):
        signal.signal(name, signal.SIG_IGN)
