"""Region proposals of a whole data set, computed once, and the file they are kept in.

DETReg's published code runs Selective Search inside the data loader, again in every epoch; kept on disk it costs once
what an epoch cost. Work is done in shards that are files of their own, so a killed run goes on where it was; the shards
become one `proposals.npz`, renamed into place when it is whole.

Boxes are kept in pixels of the squashed image (integers) beside the sizes of the originals, so scaling back is exact.
With each box goes the number of boxes inside it, from which the order can be drawn anew in every epoch
(`Proposals.redraw`).
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from repro.data.files import replacing
from repro.data.images import read_image
from repro.data.selective_search import Settings, rank, search
from repro.errors import DataError

SHARD = 128  # images
FORMAT = 1
ARRAYS = ("boxes", "depths", "offsets", "image_ids", "sizes")


class Job(NamedTuple):
    """One shard: (file name, image id) of its images, how, and where it goes."""

    images: tuple[tuple[str, int], ...]
    settings: Settings
    file: Path


def propose(
    records: list[dict[str, Any]],
    folder: str | Path,
    settings: Settings | dict[str, Any],
    workers: int = 1,
    on_progress: Callable[[int, int], Any] | None = None,
    fingerprint: str = "",
) -> Path:
    """Find the boxes of all images and write `proposals.npz`.

    Args:
        records: Dataset dictionaries; `file_name` and `image_id` are read.
        folder: Where the file goes, and the shards until it is whole.
        settings: How; see `repro.data.selective_search.Settings`.
        workers: Processes, one thread each; with 1 the work is done in this process.
        on_progress: Called with the number of images done and of all images, after each shard.
        fingerprint: The data set's, for the header.

    Returns:
        Path of the file.

    Raises:
        DataError: An image cannot be read, or the settings are wrong.
    """
    settings = Settings.of(settings)
    file = Path(folder) / "proposals.npz"
    images = sorted(((record["file_name"], record["image_id"]) for record in records), key=lambda image: image[1])
    jobs = _jobs(images, settings, file.with_suffix(".shards"))
    done = 0
    for job in _run(jobs, workers):
        done += len(job.images)
        if on_progress is not None:
            on_progress(done, len(images))
    _merge([job.file for job in jobs], file, settings, fingerprint)
    shutil.rmtree(file.with_suffix(".shards"), ignore_errors=True)
    return file


def _jobs(images: list[tuple[str, int]], settings: Settings, folder: Path) -> list[Job]:
    """Shards, each in a file whose name says what it was made with and from, so that a stale one is never taken."""
    jobs = []
    for number, start in enumerate(range(0, len(images), SHARD)):
        part = tuple(images[start : start + SHARD])
        about = json.dumps([FORMAT, asdict(settings), [(Path(name).name, key) for name, key in part]])
        mark = hashlib.sha256(about.encode()).hexdigest()[:8]
        jobs.append(Job(part, settings, folder / f"{number:06d}-{mark}.npz"))
    return jobs


def _run(jobs: list[Job], workers: int) -> Iterator[Job]:
    """Do the shards that are not there yet; give each job back when it is done."""
    waiting = [job for job in jobs if not job.file.exists()]
    yield from (job for job in jobs if job not in waiting)
    if workers <= 1 or len(waiting) <= 1:
        for job in waiting:
            yield shard(job)
        return
    # Spawned, not forked: OpenCV's threads and a trainer's signal handlers do not survive a fork well.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(waiting)), context, initializer=one_thread) as pool:
        yield from pool.map(shard, waiting)


def one_thread() -> None:
    """Selective Search gains nothing from threads; processes do the work."""
    cv2.setNumThreads(0)


def shard(job: Job) -> Job:
    """Search the images of one shard and write it.

    Raises:
        DataError: An image cannot be read.
    """
    boxes, depths, sizes = [], [], []
    for name, image_id in job.images:
        try:
            image = read_image(name)
        except OSError as error:
            raise DataError(f"proposals for image {image_id}: {error}") from error
        found, depth = search(image, image_id, job.settings)
        boxes.append(found)
        depths.append(depth)
        sizes.append(image.shape[:2])
    arrays = {
        "boxes": np.concatenate(boxes).astype(np.uint16),
        "depths": np.minimum(np.concatenate(depths), 65535).astype(np.uint16),
        "offsets": np.cumsum([0] + [len(found) for found in boxes]).astype(np.int64),
        "image_ids": np.array([image_id for _, image_id in job.images], np.int64),
        "sizes": np.array(sizes, np.uint32),
    }
    with replacing(job.file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    return job


def _merge(shards: list[Path], file: Path, settings: Settings, fingerprint: str) -> None:
    parts = [dict(np.load(path)) for path in shards]
    starts = np.cumsum([0] + [int(part["offsets"][-1]) for part in parts])
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in ARRAYS if name != "offsets"}
    ends = [part["offsets"][1:] + start for part, start in zip(parts, starts[:-1], strict=True)]
    arrays["offsets"] = np.concatenate([np.zeros(1, np.int64), *ends])
    checksum = hashlib.sha256(b"".join(arrays[name].tobytes() for name in ARRAYS)).hexdigest()[:16]
    header = {
        "format": FORMAT,
        "settings": asdict(settings),
        "dataset": fingerprint,
        "images": len(arrays["image_ids"]),
        "boxes": len(arrays["boxes"]),
        "sha256": checksum,
    }
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, header=np.array(json.dumps(header)), **arrays)


class Proposals:
    """Reads `proposals.npz`. Arrays are mapped, not read: opening is cheap, and processes share the pages.

    Attributes:
        header: What it was made with: `settings`, `dataset`, `images`, `boxes`, `sha256`.

    Raises:
        DataError: The file is missing or is not one of ours.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with np.load(self.path) as archive:
                self.header: dict[str, Any] = json.loads(str(archive["header"]))
            self._arrays = {name: _mapped(self.path, name) for name in ARRAYS}
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} holds no region proposals: {error}") from error
        if self.header.get("format") != FORMAT:
            raise DataError(f"{path} has format {self.header.get('format')}, this version reads {FORMAT}")

    def __reduce__(self) -> tuple[type[Proposals], tuple[Path]]:
        return Proposals, (self.path,)  # a worker process opens the file itself

    def __len__(self) -> int:
        return len(self._arrays["image_ids"])

    @property
    def image_ids(self) -> np.ndarray:
        """Ids of all images, ascending, int64 [images]."""
        return self._arrays["image_ids"]

    def verify(self) -> None:
        """Compare the content with the checksum in the header.

        Raises:
            DataError: They differ.
        """
        content = b"".join(np.ascontiguousarray(self._arrays[name]).tobytes() for name in ARRAYS)
        if hashlib.sha256(content).hexdigest()[:16] != self.header["sha256"]:
            raise DataError(f"{self.path} is damaged: its content does not match its checksum")

    def boxes(self, image_id: int) -> np.ndarray:
        """Boxes of an image, best first: float32 [N, 4], xyxy in pixels of the original image.

        Raises:
            DataError: The file has nothing about this image.
        """
        row = self._row(image_id)
        return self._scaled(row, self._arrays["boxes"][self._slice(row)])

    def redraw(self, image_id: int, rng: np.random.Generator) -> np.ndarray:
        """Like `boxes`, in an order drawn anew; "image_id" ranks without a look at depth, the others with it."""
        row = self._row(image_id)
        part = self._slice(row)
        depth = self._arrays["depths"][part].astype(np.int64)
        plain = self.header["settings"]["ranking"] == "image_id"
        order = rank(np.zeros_like(depth) if plain else depth, rng)
        return self._scaled(row, self._arrays["boxes"][part][order])

    def size(self, image_id: int) -> tuple[int, int]:
        """(height, width) of the original image."""
        height, width = self._arrays["sizes"][self._row(image_id)]
        return int(height), int(width)

    def _row(self, image_id: int) -> int:
        row = int(np.searchsorted(self.image_ids, image_id))
        if row == len(self.image_ids) or self.image_ids[row] != image_id:
            raise DataError(f"{self.path} has no proposals for image {image_id}; was it made for this data set?")
        return row

    def _slice(self, row: int) -> slice:
        offsets = self._arrays["offsets"]
        return slice(int(offsets[row]), int(offsets[row + 1]))

    def _scaled(self, row: int, boxes: np.ndarray) -> np.ndarray:
        side = self.header["settings"]["size"]
        if side is None:
            return boxes.astype(np.float32)
        height, width = self._arrays["sizes"][row] / side
        return (boxes * np.array([width, height, width, height])).astype(np.float32)


def _mapped(path: Path, name: str) -> np.ndarray:
    """Memory map of one array in an uncompressed npz file, which NumPy itself only reads as a whole."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        entry = archive.getinfo(f"{name}.npy")
        version = np.lib.format.read_magic(member)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(member)
        header = member.tell()
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with path.open("rb") as raw:
        raw.seek(entry.header_offset + 26)  # lengths of name and extra field in the local header
        lengths = np.frombuffer(raw.read(4), "<u2")
    start = entry.header_offset + 30 + int(lengths.sum()) + header
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
