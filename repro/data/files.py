"""Writing files that are either whole or not there, and hashing them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any


def temporary_name(path: Path) -> Path:
    """A name beside `path` that no other process of any host uses."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` at the end, or is removed on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105  the rename is the point
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write compact JSON atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, separators=(",", ":")))


def make_folder(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Make a folder with its content once, however many processes and hosts ask for it at the same time.

    The content is made in a temporary folder and renamed into place, so a folder that exists is complete. A lock keeps
    processes from making it twice; where locks do not work (some network file systems) the first rename wins and the
    others throw theirs away, which is only slower.

    Args:
        folder: The folder to make.
        fill: Writes the content into the folder that it is given.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        with contextlib.suppress(OSError):
            fcntl.lockf(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        temporary = temporary_name(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            fill(temporary)
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def digest(path: Path) -> str:
    """First 16 hex digits of a file's SHA-256, computed again only when size or time changed."""
    state = path.stat()
    return _digest(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: str, size: int, modified: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
