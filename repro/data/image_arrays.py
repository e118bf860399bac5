"""What is known of every image of a data set, in one file: the common part of region proposals and pseudo boxes.

An uncompressed npz whose arrays are mapped into memory: opening it costs the same for ten images and for a million,
processes share its pages, and an image is found by binary search. Beside the arrays of a kind of file stand

    image_ids        [images] int64, ascending
    offsets          [images + 1] int64, where an image's boxes begin
    header           JSON: format, how it was made, counts, SHA-256 of the rest
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from repro.data.files import replacing
from repro.errors import DataError

CHUNK = 1 << 24  # bytes read at a time to check a file


class ImageArrays:
    """Reads the file. A kind of file says what is in it.

    Attributes:
        FORMAT: Number of its format.
        ARRAYS: Its arrays, in the order in which they are written; ``image_ids`` and ``offsets`` among them.
        CONTENT: What it holds, in a message.
        STAGE: Kind of the stage that makes it.
        header: What it was made with, ``images``, ``boxes``, ``sha256``.

    Raises:
        DataError: The file is missing or is not one of ours.
    """

    FORMAT: ClassVar[int]
    ARRAYS: ClassVar[tuple[str, ...]]
    CONTENT: ClassVar[str]
    STAGE: ClassVar[str]

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with np.load(self.path) as archive:
                self.header: dict[str, Any] = json.loads(str(archive["header"]))
            if self.header["format"] != self.FORMAT:
                raise DataError(
                    f"{path} has format {self.header['format']}, this version reads {self.FORMAT}: "
                    f"remove it and run its {self.STAGE} stage again"
                )
            self._arrays = {name: mapped(self.path, name) for name in self.ARRAYS}
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} holds no {self.CONTENT}: {error}") from error

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.path,)  # a worker process opens the file itself

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
        digest = hashlib.sha256()
        for name in self.ARRAYS:
            content = self._arrays[name].reshape(-1)
            step = max(CHUNK // content.itemsize, 1)
            for start in range(0, len(content), step):
                digest.update(content[start : start + step].tobytes())
        if digest.hexdigest()[:16] != self.header["sha256"]:
            raise DataError(f"{self.path} is damaged: its content does not match its checksum")

    def _row(self, image_id: int) -> int:
        row = bisect_left(self.image_ids, image_id)  # NumPy's would copy the ids first, which are not aligned here
        if row == len(self.image_ids) or self.image_ids[row] != image_id:
            raise DataError(f"{self.path} has no {self.CONTENT} for image {image_id}; was it made for this data set?")
        return row

    def _part(self, name: str, offsets: str, row: int) -> np.ndarray:
        start, stop = self._arrays[offsets][row : row + 2]
        return self._arrays[name][int(start) : int(stop)]

    @classmethod
    def join(cls, shards: Sequence[Path], file: Path, about: Mapping[str, Any]) -> None:
        """Write one file of many that have the same arrays: an array at a time and a shard at a time.

        Equal content gives equal bytes.

        Args:
            shards: npz files with `ARRAYS`, images ascending from file to file.
            file: Where to; it appears when it is whole.
            about: What the header says beside what the arrays tell.
        """
        digest, lengths = hashlib.sha256(), {}
        with replacing(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in cls.ARRAYS:
                lengths[name] = _join_array(archive, name, shards, digest)
            if _last(shards, "offsets") != lengths["boxes"]:
                raise DataError(f"{file}: shards changed while they were put together; run its {cls.STAGE} stage again")
            counted = {"images": lengths["image_ids"], "boxes": lengths["boxes"], "sha256": digest.hexdigest()[:16]}
            with archive.open(zipfile.ZipInfo("header.npy"), "w") as member:
                np.lib.format.write_array(member, np.array(json.dumps({"format": cls.FORMAT, **about, **counted})))


def _last(shards: Sequence[Path], name: str) -> int:
    """Where the offsets of all shards end."""
    return sum(int(mapped(path, name)[-1]) for path in shards)


def _join_array(archive: zipfile.ZipFile, name: str, shards: Sequence[Path], digest: Any) -> int:
    """Write one array of all shards; returns its length. Offsets go on from shard to shard, and begin with one 0."""
    is_offsets = name.endswith("offsets")
    total = sum(len(mapped(path, name)) - is_offsets for path in shards) + is_offsets
    first = mapped(shards[0], name)
    about = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False}
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, {**about, "shape": (total, *first.shape[1:])})
        base = np.int64(0)
        for number, path in enumerate(shards):
            part = mapped(path, name)
            if is_offsets:
                part = part[min(number, 1) :] + base
                base = part[-1]
            content = part.tobytes()
            member.write(content)
            digest.update(content)
    return total


def mapped(path: Path, name: str) -> np.ndarray:
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
