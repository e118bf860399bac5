"""Work on every image of a data set, once, shared among any number of processes, with one file at its end.

Images are dealt out, by id, to shards that are files of their own. A shard's name says what it was made with and from,
and it is linked into place when it is whole: a killed run goes on where it was, a stale shard is never taken, and of
two processes that do the same shard the first one's counts. Any number of processes may share the work, of one job or
of many, each with a pool of workers if it likes: every worker takes the next shard that nobody has done or is doing,
and the first process, once no shard is left, puts all together. So one that is killed loses the shards that its workers
had in hand, and any other does them.

Nothing here grows with the data set but a few numbers an image: shards are described when their turn comes, and joined
by copying.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from repro.data import lease
from repro.data.files import temporary_name
from repro.data.image_arrays import ImageArrays
from repro.errors import DataError

SHARD = 256  # images, unless a number of shards is asked for

Images = Sequence[tuple[str, int]]
"""File name and image id of each."""


class Finder(Protocol):
    """What is done with images. Where a process has several workers, it is pickled for each of them."""

    kind: type[ImageArrays]
    """Of the file that comes out."""

    def identity(self) -> Sequence[Any]:
        """All that changes what is found, the images apart, as plain values."""
        ...

    def header(self, dataset: str, mark: str) -> dict[str, Any]:
        """What the file's header says of how it was made: the data set's fingerprint and the mark among it."""
        ...

    def find(self, images: Images, alive: Callable[[], Any]) -> dict[str, np.ndarray]:
        """The arrays of a shard; ``alive`` is to be called more often than once in `lease.STALE` seconds."""
        ...


class Job(NamedTuple):
    """One shard: its images, what is done with them, and where it goes; who we are if others may do it too."""

    images: Images
    finder: Finder
    file: Path
    holder: lease.Holder | None = None

    @property
    def lease_file(self) -> Path:
        """Says that somebody is at it."""
        return self.file.with_suffix(".lease")

    @property
    def open(self) -> bool:
        """Whether it is neither done nor, as far as others share the work, in anybody's hands."""
        return not self.file.exists() and not (self.holder and lease.held(self.lease_file, self.holder))


@dataclass(frozen=True)
class Sharing:
    """How the work is shared out; changes nothing of what is found.

    Attributes:
        shards: How many shards; None makes them of `SHARD` images.
        workers: Worker processes of this one, a thread each; with 1 the work is done in this process.
        process: Number of this process and of all that share the work; they see the same folder. The first one must
            be there for the file to be, the others may come, go and come back.
    """

    shards: int | None = None
    workers: int = 1
    process: tuple[int, int] = (0, 1)


def run(
    records: Sequence[Mapping[str, Any]],
    file: Path,
    finder: Finder,
    sharing: Sharing,
    *,
    fingerprint: str = "",
    on_progress: Callable[[int, int], Any] | None = None,
) -> Path:
    """Do all images and write the file.

    Args:
        records: Dataset dictionaries; `file_name` and `image_id` are read.
        file: Where it goes; the shards stand beside it until it is whole.
        finder: What is done.
        sharing: With whom.
        fingerprint: The data set's, for the header.
        on_progress: Called with the number of images done (by all processes) and of all images, after each shard.

    Returns:
        Path of the file; the first process returns when it is there, the others when they find no shard left to do.

    Raises:
        DataError: The number of shards is not positive, or what the finder raises.
    """
    plan, (number, processes) = _Plan(records, sharing.shards), sharing.process
    holder = lease.Holder.new(str(number)) if processes > 1 else None
    jobs = _Jobs(plan, finder, file.with_suffix(".shards"), fingerprint, holder)
    report = on_progress or (lambda done, total: None)
    jobs.folder.mkdir(parents=True, exist_ok=True)  # before we look: who joins removes it
    if not jobs.joined(file):
        start = len(plan) * number // processes  # far from each other, so that they seldom want the same one
        for _ in _run((jobs[(start + i) % len(plan)] for i in range(len(plan))), sharing.workers):
            if number == 0:
                report(jobs.done(), len(records))
        if number == 0:
            _await_others(jobs, sharing.workers, lambda: report(jobs.done(), len(records)))
            finder.kind.join(jobs.files(), file, finder.header(fingerprint, jobs.mark))
    if number == 0 or jobs.joined(file):
        shutil.rmtree(jobs.folder, ignore_errors=True)
    return file


class _Plan:
    """Which images are in which shard: equal shares by image id."""

    def __init__(self, records: Sequence[Mapping[str, Any]], shards: int | None) -> None:
        if shards is not None and shards < 1:
            raise DataError(f"the number of shards is positive, not {shards}")
        self.records = records
        self.order = np.argsort(np.fromiter((record["image_id"] for record in records), np.int64), kind="stable")
        self.shards = min(shards or -(-len(records) // SHARD), len(records))

    def __len__(self) -> int:
        return self.shards

    def __getitem__(self, number: int) -> Images:
        start, stop = (len(self.order) * end // self.shards for end in (number, number + 1))
        chosen = (self.records[int(position)] for position in self.order[start:stop])
        return tuple((str(record["file_name"]), int(record["image_id"])) for record in chosen)

    def size(self, number: int) -> int:
        """Images in a shard."""
        return len(self.order) * (number + 1) // self.shards - len(self.order) * number // self.shards


class _Jobs:
    """The shards as work to do; keeps their names, and which of them were seen to be there."""

    def __init__(
        self, plan: _Plan, finder: Finder, folder: Path, fingerprint: str, holder: lease.Holder | None
    ) -> None:
        self.plan, self.finder, self.folder, self.holder = plan, finder, folder, holder
        about = json.dumps([finder.kind.FORMAT, *finder.identity(), fingerprint])
        self._names = [self._name(number, about) for number in range(len(plan))]
        self._there: set[int] = set()

    def _name(self, number: int, about: str) -> str:
        # Not by pathlib, which keeps every name that it has ever seen.
        images = json.dumps([(name.rpartition("/")[2], image_id) for name, image_id in self.plan[number]])
        return f"{number:06d}-{hashlib.sha256((about + images).encode()).hexdigest()[:8]}.npz"

    def __getitem__(self, number: int) -> Job:
        return Job(self.plan[number], self.finder, self.folder / self._names[number], self.holder)

    def files(self) -> list[Path]:
        """All shards' files, in order."""
        return [self.folder / name for name in self._names]

    @property
    def mark(self) -> str:
        """Changes with what the finder does, the data set, and any image's name or id."""
        return hashlib.sha256("".join(self._names).encode()).hexdigest()[:16]

    def joined(self, file: Path) -> bool:
        """Whether an earlier attempt has put all shards together, and was stopped only then."""
        try:
            return self.finder.kind(file).header.get("mark") == self.mark
        except DataError:
            return False

    def missing(self) -> list[int]:
        """The shards that are not there yet."""
        self.done()
        return [number for number in range(len(self._names)) if number not in self._there]

    def done(self) -> int:
        """Images in the shards that are there. One listing of the folder, whoever wrote them."""
        there = {path.name for path in self.folder.glob("*.npz")}
        self._there |= {number for number, name in enumerate(self._names) if name in there}
        return sum(self.plan.size(number) for number in self._there)


def _await_others(jobs: _Jobs, workers: int, report: Callable[[], Any]) -> None:
    """Return when all shards are there; do those that others took and were killed over."""
    while missing := jobs.missing():
        abandoned = [job for job in map(jobs.__getitem__, missing) if job.open]
        if not abandoned:
            time.sleep(1.0)
        for _ in _run(iter(abandoned), workers):
            report()
        report()


def _run(jobs: Iterator[Job], workers: int) -> Iterator[Job]:
    """Do the shards that are open, a few of them waiting at a time; give each job back when we are through with it."""
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
            if not job.open:
                yield job
                continue
            waiting.append(pool.submit(shard, job))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _write_first(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a shard, unless somebody else was faster: who joins may have begun to read theirs."""
    temporary = temporary_name(file)
    try:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)
        with contextlib.suppress(FileExistsError):
            _link(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, file: Path) -> None:
    try:
        os.link(temporary, file)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # a file system without hard links
        if not file.exists():
            temporary.replace(file)


def one_thread() -> None:
    """Of OpenCV in a worker: what is done to one image gains nothing from more, processes do the work."""
    cv2.setNumThreads(0)


def shard(job: Job) -> Job:
    """Do one shard and write it, unless it is there, or somebody else is at it."""
    if job.file.exists():
        return job
    try:
        if job.holder and not lease.take(job.lease_file, job.holder):
            return job
        try:
            arrays = job.finder.find(job.images, lambda: job.holder and lease.touch(job.lease_file))
            if job.file.parent.is_dir():
                _write_first(job.file, arrays)
        finally:
            job.lease_file.unlink(missing_ok=True)
    except FileNotFoundError:
        if job.file.parent.is_dir():
            raise
        # Else others have done and joined it all meanwhile, and removed the folder.
    return job
