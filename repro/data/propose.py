"""Finding the region proposals of a data set, once, and writing the file that `repro.data.proposals` reads.

DETReg's published code runs Selective Search inside the data loader, again in every epoch; kept on disk it costs once
what an epoch cost. Images are dealt out, by id, to shards that are files of their own. A shard's name says what it was
made with and from, and it is renamed into place when it is whole: a killed run goes on where it was, a stale shard is
never taken, and two processes that do the same shard do no harm. Any number of processes may share the work, each with
a pool of workers: process r of n does the shards r, r + n, …, and the first one puts all together.

Nothing here grows with the data set but a few numbers an image: shards are described when their turn comes, and joined
by copying.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np

from repro.data import edge_boxes, random_boxes, selective_search
from repro.data.candidates import Candidates
from repro.data.files import replacing
from repro.data.images import read_image
from repro.data.proposals import FILE, FORMAT, Proposals, join
from repro.errors import DataError, did_you_mean

SHARD = 256  # images, unless a number of shards is asked for
METHODS: dict[str, ModuleType] = {
    "selective_search": selective_search,
    "edge_boxes": edge_boxes,
    "random": random_boxes,
}


class Method(NamedTuple):
    """How boxes are found: a name of `METHODS`, and that module's settings."""

    name: str
    settings: Any

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Method:
        """From a recipe's dictionary; without `method` it is Selective Search.

        Raises:
            DataError: There is no such method or setting, or a value is not allowed.
        """
        name = values.get("method", "selective_search")
        if name not in METHODS:
            raise DataError(f"proposals: there is no method {name!r}. {did_you_mean(str(name), METHODS)}")
        known = asdict(METHODS[name].Settings())
        own = {key: value for key, value in values.items() if key != "method"}
        for key in own:
            if key not in known:
                raise DataError(f"proposals: {name} has no setting {key}. {did_you_mean(key, known)}")
        return cls(name, METHODS[name].Settings(**own))

    def search(self, image: np.ndarray, image_id: int) -> Candidates:
        """Candidates of an RGB image [H, W, 3]."""
        found: Candidates = METHODS[self.name].search(image, image_id, self.settings)
        return found


class Job(NamedTuple):
    """One shard: (file name, image id) of its images, how, and where it goes."""

    images: tuple[tuple[str, int], ...]
    method: Method
    file: Path


def propose(
    records: Sequence[Mapping[str, Any]],
    folder: str | Path,
    settings: Mapping[str, Any],
    *,
    shards: int | None = None,
    workers: int = 1,
    process: tuple[int, int] = (0, 1),
    fingerprint: str = "",
    on_progress: Callable[[int, int], Any] | None = None,
) -> Path:
    """Find the boxes of all images and write `proposals.npz`.

    Args:
        records: Dataset dictionaries; `file_name` and `image_id` are read.
        folder: Where the file goes, and the shards until it is whole.
        settings: How: `method`, and what its module's `Settings` has.
        shards: How many shards; None makes them of `SHARD` images.
        workers: Worker processes of this one, a thread each; with 1 the work is done in this process.
        process: Number of this process and of all that share the work; they see the same folder.
        fingerprint: The data set's, for the header.
        on_progress: Called with the number of images done (by all processes) and of all images, after each shard.

    Returns:
        Path of the file; the first process returns when it is there, the others when their share is done.

    Raises:
        DataError: An image cannot be read, or the settings are wrong.
    """
    method, file, plan = Method.of(settings), Path(folder) / FILE, _Plan(records, shards)
    jobs = _Jobs(plan, method, file.with_suffix(".shards"), fingerprint)
    report = on_progress or (lambda done, total: None)
    if jobs.joined(file):
        return file
    number, processes = process
    for _ in _run((jobs[i] for i in range(number, len(plan), processes)), workers):
        if number == 0:
            report(jobs.done(), len(records))
    if number == 0:
        while jobs.missing():  # other processes' shards
            time.sleep(1.0)
            report(jobs.done(), len(records))
        join(jobs.files(), file, jobs.about())
        shutil.rmtree(file.with_suffix(".shards"), ignore_errors=True)
    return file


class _Plan:
    """Which images are in which shard: equal shares by image id."""

    def __init__(self, records: Sequence[Mapping[str, Any]], shards: int | None) -> None:
        if shards is not None and shards < 1:
            raise DataError(f"proposals: the number of shards is positive, not {shards}")
        self.records = records
        self.order = np.argsort(np.fromiter((record["image_id"] for record in records), np.int64), kind="stable")
        self.shards = min(shards or -(-len(records) // SHARD), len(records))

    def __len__(self) -> int:
        return self.shards

    def __getitem__(self, number: int) -> tuple[tuple[str, int], ...]:
        start, stop = (len(self.order) * end // self.shards for end in (number, number + 1))
        chosen = (self.records[int(position)] for position in self.order[start:stop])
        return tuple((str(record["file_name"]), int(record["image_id"])) for record in chosen)

    def size(self, number: int) -> int:
        """Images in a shard."""
        return len(self.order) * (number + 1) // self.shards - len(self.order) * number // self.shards


class _Jobs:
    """The shards as work to do; keeps their names, and which of them were seen to be there."""

    def __init__(self, plan: _Plan, method: Method, folder: Path, fingerprint: str) -> None:
        self.plan, self.method, self.folder, self.fingerprint = plan, method, folder, fingerprint
        about = json.dumps([FORMAT, method.name, asdict(method.settings), fingerprint])
        self._names = [self._name(number, about) for number in range(len(plan))]
        self._there: set[int] = set()

    def _name(self, number: int, about: str) -> str:
        # Not by pathlib, which keeps every name that it has ever seen.
        images = json.dumps([(name.rpartition("/")[2], image_id) for name, image_id in self.plan[number]])
        return f"{number:06d}-{hashlib.sha256((about + images).encode()).hexdigest()[:8]}.npz"

    def __getitem__(self, number: int) -> Job:
        return Job(self.plan[number], self.method, self.folder / self._names[number])

    def files(self) -> list[Path]:
        """All shards' files, in order."""
        return [self.folder / name for name in self._names]

    @property
    def mark(self) -> str:
        """Changes with the settings, the data set, and any image's name or id."""
        return hashlib.sha256("".join(self._names).encode()).hexdigest()[:16]

    def about(self) -> dict[str, Any]:
        """What the file's header says of how it was made."""
        return {
            "method": self.method.name,
            "settings": asdict(self.method.settings),
            "ranking": self.method.settings.ranking,
            "squashed": self.method.settings.size,
            "dataset": self.fingerprint,
            "mark": self.mark,
            "versions": {"opencv": cv2.__version__, "numpy": np.__version__},
        }

    def joined(self, file: Path) -> bool:
        """Whether an earlier attempt has put all shards together, and was stopped only then."""
        try:
            return Proposals(file).header.get("mark") == self.mark
        except DataError:
            return False

    def missing(self) -> bool:
        """Whether a shard is not there yet."""
        self.done()
        return len(self._there) < len(self._names)

    def done(self) -> int:
        """Images in the shards that are there. One listing of the folder, whoever wrote them."""
        there = {path.name for path in self.folder.glob("*.npz")}
        self._there |= {number for number, name in enumerate(self._names) if name in there}
        return sum(self.plan.size(number) for number in self._there)


def _run(jobs: Iterator[Job], workers: int) -> Iterator[Job]:
    """Do the shards that are not there yet, a few of them waiting at a time; give each job back when it is done."""
    if workers <= 1:
        for job in jobs:
            yield shard(job)
        return
    # Spawned, not forked: OpenCV's threads and a trainer's signal handlers do not survive a fork well.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=one_thread)
    try:
        waiting: deque[Future[Job]] = deque()
        for job in jobs:
            if job.file.exists():
                yield job
                continue
            waiting.append(pool.submit(shard, job))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def one_thread() -> None:
    """Searching gains nothing from threads; processes do the work."""
    cv2.setNumThreads(0)


def shard(job: Job) -> Job:
    """Search the images of one shard and write it, unless it is there.

    Raises:
        DataError: An image cannot be read.
    """
    if job.file.exists():
        return job
    found, sizes = [], []
    for name, image_id in job.images:
        try:
            image = read_image(name)
        except OSError as error:
            raise DataError(f"proposals for image {image_id}: {error}") from error
        if max(image.shape) > np.iinfo(np.uint16).max:
            raise DataError(f"proposals for image {image_id}: {name} has a side of more than 65535 pixels")
        found.append(job.method.search(image, image_id))
        sizes.append(image.shape[:2])
    arrays = {
        "boxes": np.concatenate([one.boxes for one in found]).astype(_box_type(job.method)),
        "counts": np.concatenate([one.counts for one in found]).astype(np.uint8),
        "levels": np.minimum(np.concatenate([one.levels for one in found]), 65535).astype(np.uint16),
        "offsets": np.cumsum([0] + [len(one.boxes) for one in found]).astype(np.int64),
        "level_offsets": np.cumsum([0] + [len(one.levels) for one in found]).astype(np.int64),
        "image_ids": np.array([image_id for _, image_id in job.images], np.int64),
        "sizes": np.array(sizes, np.uint32),
    }
    with replacing(job.file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    return job


def _box_type(method: Method) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if method.settings.size is not None and method.settings.size < 256 else np.uint16
