"""Region proposals of a whole data set, in one file: joining it, and reading it. `repro.data.propose` finds the boxes.

The file is an uncompressed npz whose arrays are mapped into memory: opening it costs the same for ten images and for a
million, processes share its pages, and an image is found by binary search. Boxes are kept in pixels of the squashed
image beside the sizes of the originals, so scaling back is exact. With each box go the levels of its regions, from
which the order can be drawn anew in every epoch (`Proposals.redraw`).

    boxes            [N, 4] xyxy, all images' one after another, by image id; uint8 where the squashed side allows it
    counts           [N] uint8, regions that have this box
    levels           [M], of the first box's regions, of the second one's, …
    offsets          [images + 1] int64, where an image's boxes begin
    level_offsets    [images + 1] int64, where its levels begin
    image_ids        [images] int64, ascending
    sizes            [images, 2] uint32, height and width of the originals
    header           JSON: format, method, settings, the data set's fingerprint, counts, versions, SHA-256 of the rest
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repro.data.candidates import rank
from repro.data.files import replacing
from repro.errors import DataError

FORMAT = 2
FILE = "proposals.npz"
ARRAYS = ("boxes", "counts", "levels", "offsets", "level_offsets", "image_ids", "sizes")
CHUNK = 1 << 24  # bytes read at a time to check a file


class Proposals:
    """Reads the file.

    Attributes:
        header: What it was made with: `method`, `settings`, `ranking`, `dataset`, `images`, `boxes`, `sha256`.

    Raises:
        DataError: The file is missing or is not one of ours.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with np.load(self.path) as archive:
                self.header: dict[str, Any] = json.loads(str(archive["header"]))
            if self.header["format"] != FORMAT:
                raise DataError(
                    f"{path} has format {self.header['format']}, this version reads {FORMAT}: "
                    "remove it and run its propose stage again"
                )
            self._arrays = {name: mapped(self.path, name) for name in ARRAYS}
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} holds no region proposals: {error}") from error

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
        digest = hashlib.sha256()
        for name in ARRAYS:
            content = self._arrays[name].reshape(-1)
            step = max(CHUNK // content.itemsize, 1)
            for start in range(0, len(content), step):
                digest.update(content[start : start + step].tobytes())
        if digest.hexdigest()[:16] != self.header["sha256"]:
            raise DataError(f"{self.path} is damaged: its content does not match its checksum")

    def boxes(self, image_id: int) -> np.ndarray:
        """Boxes of an image, best first: float32 [N, 4], xyxy in pixels of the original image.

        Raises:
            DataError: The file has nothing about this image.
        """
        row = self._row(image_id)
        return self._scaled(row, self._part("boxes", "offsets", row))

    def redraw(self, image_id: int, rng: np.random.Generator) -> np.ndarray:
        """Like `boxes`, in an order drawn anew by the ranking they were made with; scores and drawn boxes stay."""
        row = self._row(image_id)
        counts = self._part("counts", "offsets", row).astype(np.int64)
        order = rank(counts, self._part("levels", "level_offsets", row), self.header["ranking"], rng)
        return self._scaled(row, self._part("boxes", "offsets", row)[order])

    def size(self, image_id: int) -> tuple[int, int]:
        """(height, width) of the original image."""
        height, width = self._arrays["sizes"][self._row(image_id)]
        return int(height), int(width)

    def _row(self, image_id: int) -> int:
        row = bisect_left(self.image_ids, image_id)  # NumPy's would copy the ids first, which are not aligned here
        if row == len(self.image_ids) or self.image_ids[row] != image_id:
            raise DataError(f"{self.path} has no proposals for image {image_id}; was it made for this data set?")
        return row

    def _part(self, name: str, offsets: str, row: int) -> np.ndarray:
        start, stop = self._arrays[offsets][row : row + 2]
        return self._arrays[name][int(start) : int(stop)]

    def _scaled(self, row: int, boxes: np.ndarray) -> np.ndarray:
        side = self.header["squashed"]
        if side is None:
            return boxes.astype(np.float32)
        height, width = self._arrays["sizes"][row] / side
        return (boxes * np.array([width, height, width, height])).astype(np.float32)


def join(shards: Sequence[Path], file: Path, about: Mapping[str, Any]) -> None:
    """Write one file of many that have the same arrays: an array at a time and a shard at a time.

    Equal content gives equal bytes.

    Args:
        shards: npz files with `ARRAYS`, images ascending from file to file.
        file: Where to; it appears when it is whole.
        about: What the header says beside what the arrays tell.
    """
    digest, lengths = hashlib.sha256(), {}
    with replacing(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in ARRAYS:
            lengths[name] = _join_array(archive, name, shards, digest)
        counted = {"images": lengths["image_ids"], "boxes": lengths["boxes"], "sha256": digest.hexdigest()[:16]}
        with archive.open(zipfile.ZipInfo("header.npy"), "w") as member:
            np.lib.format.write_array(member, np.array(json.dumps({"format": FORMAT, **about, **counted})))


def _join_array(archive: zipfile.ZipFile, name: str, shards: Sequence[Path], digest: Any) -> int:
    """Write one array of all shards; returns its length. Offsets go on from shard to shard, and begin with one 0."""
    is_offsets = name in ("offsets", "level_offsets")
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
