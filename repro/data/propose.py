"""Finding the region proposals of a data set, once, and writing the file that `repro.data.proposals` reads.

DETReg's published code runs Selective Search inside the data loader, again in every epoch; kept on disk it costs once
what an epoch cost. Images are dealt out, by id, to shards that are files of their own. A shard's name says what it was
made with and from, and it is renamed into place when it is whole: a killed run goes on where it was, a stale shard is
never taken, and two processes that do the same shard do no harm. Any number of processes may share the work, of one job
or of many, each with a pool of workers: every worker takes the next shard that nobody has done or is doing, and the
first process, once no shard is left, puts all together. So one that is killed loses the shards that its workers had in
hand, and any other does them.

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

from repro.data import edge_boxes, lease, random_boxes, selective_search
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
    """One shard: (file name, image id) of its images, how, and where it goes; who we are if others may do it too."""

    images: tuple[tuple[str, int], ...]
    method: Method
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
        process: Number of this process and of all that share the work; they see the same folder. The first one must
            be there for the file to be, the others may come, go and come back.
        fingerprint: The data set's, for the header.
        on_progress: Called with the number of images done (by all processes) and of all images, after each shard.

    Returns:
        Path of the file; the first process returns when it is there, the others when they find no shard left to do.

    Raises:
        DataError: An image cannot be read, or the settings are wrong.
    """
    method, file, plan = Method.of(settings), Path(folder) / FILE, _Plan(records, shards)
    number, processes = process
    holder = lease.Holder.new(str(number)) if processes > 1 else None
    jobs = _Jobs(plan, method, file.with_suffix(".shards"), fingerprint, holder)
    report = on_progress or (lambda done, total: None)
    jobs.folder.mkdir(parents=True, exist_ok=True)  # before we look: who joins removes it
    if not jobs.joined(file):
        start = len(plan) * number // processes  # far from each other, so that they seldom want the same one
        for _ in _run((jobs[(start + i) % len(plan)] for i in range(len(plan))), workers):
            if number == 0:
                report(jobs.done(), len(records))
        if number == 0:
            _await_others(jobs, workers, lambda: report(jobs.done(), len(records)))
            join(jobs.files(), file, jobs.about())
    if number == 0 or jobs.joined(file):
        shutil.rmtree(jobs.folder, ignore_errors=True)
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

    def __init__(
        self, plan: _Plan, method: Method, folder: Path, fingerprint: str, holder: lease.Holder | None
    ) -> None:
        self.plan, self.method, self.folder, self.fingerprint, self.holder = plan, method, folder, fingerprint, holder
        about = json.dumps([FORMAT, method.name, asdict(method.settings), fingerprint])
        self._names = [self._name(number, about) for number in range(len(plan))]
        self._there: set[int] = set()

    def _name(self, number: int, about: str) -> str:
        # Not by pathlib, which keeps every name that it has ever seen.
        images = json.dumps([(name.rpartition("/")[2], image_id) for name, image_id in self.plan[number]])
        return f"{number:06d}-{hashlib.sha256((about + images).encode()).hexdigest()[:8]}.npz"

    def __getitem__(self, number: int) -> Job:
        return Job(self.plan[number], self.method, self.folder / self._names[number], self.holder)

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


def one_thread() -> None:
    """Searching gains nothing from threads; processes do the work."""
    cv2.setNumThreads(0)


def shard(job: Job) -> Job:
    """Search the images of one shard and write it, unless it is there, or somebody else is at it.

    Raises:
        DataError: An image cannot be read.
    """
    if job.file.exists():
        return job
    try:
        if job.holder and not lease.take(job.lease_file, job.holder):
            return job
        try:
            arrays = _search(job)
            if job.file.parent.is_dir():
                with replacing(job.file) as temporary, temporary.open("wb") as stream:
                    np.savez(stream, **arrays)
        finally:
            job.lease_file.unlink(missing_ok=True)
    except FileNotFoundError:
        if job.file.parent.is_dir():
            raise
        # Else others have done and joined it all meanwhile, and removed the folder.
    return job


def _search(job: Job) -> dict[str, np.ndarray]:
    """The arrays of a shard."""
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
        if job.holder:
            lease.touch(job.lease_file)
    return {
        "boxes": np.concatenate([one.boxes for one in found]).astype(_box_type(job.method)),
        "counts": np.concatenate([one.counts for one in found]).astype(np.uint8),
        "levels": np.minimum(np.concatenate([one.levels for one in found]), 65535).astype(np.uint16),
        "offsets": np.cumsum([0] + [len(one.boxes) for one in found]).astype(np.int64),
        "level_offsets": np.cumsum([0] + [len(one.levels) for one in found]).astype(np.int64),
        "image_ids": np.array([image_id for _, image_id in job.images], np.int64),
        "sizes": np.array(sizes, np.uint32),
    }


def _box_type(method: Method) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if method.settings.size is not None and method.settings.size < 256 else np.uint16
