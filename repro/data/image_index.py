"""A list of a million images that costs nothing to open: names and sizes, once read and then mapped from a file.

Looking through ImageNet's folders takes minutes, and reading a million dictionaries takes a gigabyte, in each process.
`build` looks once, class folder by class folder, so that a run that was killed goes on where it was. `Records` maps the
result: opening it reads a few hundred bytes, all processes share the pages, and a dataset dictionary is made when it is
asked for.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, overload

import numpy as np

from repro.data.dataset import Progress, quiet
from repro.data.files import make_folder, replacing
from repro.data.images import probe
from repro.errors import DataError, collect

SUFFIXES = {".jpg", ".jpeg", ".png"}  # what the authors' walk of the folders takes
THREADS = 16  # files are probed in threads: on a network file system waiting dominates


def build(images: Path, classes: Sequence[str], index: Path, progress: Progress = quiet) -> Path:
    """Look through the class folders and write the index; resumable, and atomic.

    Args:
        images: Folder of the class folders.
        classes: Names of the class folders.
        index: Folder to make; one that exists is kept.
        progress: Is told how many classes are done.

    Raises:
        DataError: A class folder is missing, or images cannot be read: all are named.
    """
    if index.is_dir():
        return index
    missing = [f"{images / name} does not exist" for name in classes if not (images / name).is_dir()]
    collect(_shortened(missing), f"class folders in {images}", DataError)
    parts = index.with_name(f"{index.name}.parts")
    parts.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(THREADS) as pool:
        for done, name in enumerate(classes):
            progress("classes", done, len(classes))
            if not (parts / f"{name}.json").exists():
                _look(images, name, parts / f"{name}.json", pool)
    make_folder(index, lambda folder: _join(parts, classes, folder))
    shutil.rmtree(parts)
    return index


def _look(images: Path, name: str, file: Path, pool: ThreadPoolExecutor) -> None:
    """List one class folder and judge its images."""
    found = sorted(path for path in (images / name).rglob("*") if path.suffix.lower() in SUFFIXES)
    probed = list(pool.map(probe, found))
    faults = [f"{path}: {fault}" for path, (_, fault) in zip(found, probed, strict=True) if fault is not None]
    collect(_shortened(faults), f"images of class {name}; unpack its archive again", DataError)
    if not found:
        raise DataError(f"{images / name} holds no image")
    names = [path.relative_to(images).as_posix() for path in found]
    with replacing(file) as temporary:
        temporary.write_text(json.dumps({"names": names, "sizes": [size for size, _ in probed]}))


def _join(parts: Path, classes: Sequence[str], folder: Path) -> None:
    content = [json.loads((parts / f"{name}.json").read_text()) for name in classes]
    names = [name.encode() for part in content for name in part["names"]]
    ends = np.cumsum([len(part["names"]) for part in content]).tolist()
    starts = [0, *ends[:-1]]
    np.save(folder / "names.npy", np.frombuffer(b"".join(names), np.uint8))
    np.save(folder / "offsets.npy", np.cumsum([0] + [len(name) for name in names]).astype(np.int64))
    np.save(folder / "sizes.npy", np.array([size for part in content for size in part["sizes"]], np.uint16))
    rows = {name: [start, end] for name, start, end in zip(classes, starts, ends, strict=True)}
    (folder / "classes.json").write_text(json.dumps(rows))


class Records(Sequence[dict[str, Any]]):
    """Dataset dictionaries of the images of some classes, without annotations, made when they are asked for.

    An image's id is its position among the images of these classes, so it does not depend on which others are there.

    Args:
        index: Folder that `build` made.
        images: Folder of the class folders.
        classes: Which classes; all of them must be in the index. None takes all that are.

    Raises:
        DataError: The index is missing or damaged, or lacks a class.
    """

    def __init__(self, index: Path, images: Path, classes: Sequence[str] | None = None) -> None:
        try:
            rows = json.loads((index / "classes.json").read_text())
            self._names, self._offsets, self._sizes = (
                np.load(index / f"{name}.npy", mmap_mode="r") for name in ("names", "offsets", "sizes")
            )
        except (OSError, ValueError) as error:
            raise DataError(
                f"{index} is no index of images: {error}. Remove it and prepare the data set again"
            ) from error
        self.index, self.images, self.classes = index, images, list(rows if classes is None else classes)
        lacking = [f"it has no class {name}" for name in self.classes if name not in rows]
        collect(_shortened(lacking), str(index), DataError)
        self._starts = np.array([rows[name][0] for name in self.classes], np.int64)
        self._counts = np.array([rows[name][1] - rows[name][0] for name in self.classes], np.int64)
        self._ends = np.cumsum(self._counts)

    def __reduce__(self) -> tuple[type[Records], tuple[Path, Path, list[str]]]:
        return Records, (self.index, self.images, self.classes)  # a worker process opens the files itself

    def __len__(self) -> int:
        return int(self._ends[-1])

    @overload
    def __getitem__(self, position: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, position: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, position: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(position, slice):
            return [self._at(number) for number in range(*position.indices(len(self)))]
        if not -len(self) <= position < len(self):
            raise IndexError(position)
        return self._at(int(position) % len(self))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._at(number) for number in range(len(self)))

    def content(self) -> str:
        """Hash of names and sizes, 16 hex digits; the same whatever other classes the index has."""
        state = hashlib.sha256()
        for start, count in zip(self._starts.tolist(), self._counts.tolist(), strict=True):
            ends = self._offsets[start : start + count + 1]
            for part in (self._names[ends[0] : ends[-1]], np.diff(ends), self._sizes[start : start + count]):
                state.update(part.tobytes())
        return state.hexdigest()[:16]

    def _at(self, number: int) -> dict[str, Any]:
        group = int(np.searchsorted(self._ends, number, "right"))
        before = int(self._ends[group - 1]) if group else 0
        row = int(self._starts[group]) + number - before
        name = bytes(self._names[self._offsets[row] : self._offsets[row + 1]]).decode()
        height, width = (int(side) for side in self._sizes[row])
        file = f"{self.images}/{name}"
        return {"file_name": file, "image_id": number, "height": height, "width": width, "annotations": []}


def _shortened(lines: list[str], most: int = 20) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"… and {len(lines) - most:,} more"]
