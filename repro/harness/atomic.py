"""Files that many processes on many machines write at once: whole or absent, and never half.

A reader sees the old content, the new content or no file. Both calls write a temporary file beside the target, flush
it to the disk, then put it in place with one call that the file system does at once: ``rename`` to replace, ``link``
to create (``link`` refuses an existing name, on NFS too, which ``O_EXCL`` did not always).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from pathlib import Path
from typing import Any


def replace(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, replacing what was there."""
    temporary = _write_beside(path, text)
    try:
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def create(path: Path, text: str) -> bool:
    """Write ``text`` to ``path`` unless the name is taken; return whether it was written. One of many callers wins."""
    temporary = _write_beside(path, text)
    try:
        try:
            os.link(temporary, path)
        except FileExistsError:
            # An NFS client that resends a request whose answer was lost is told "exists" of its own link.
            return temporary.stat().st_nlink == 2
        return True
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``; None when there is no such file.

    Raises:
        ValueError: the file is not a JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f"a JSON object was expected, not {type(content).__name__}")
    return content


def glance(path: Path) -> dict[str, Any] | None:
    """``read_json`` for files that only inform (progress, stamps): a damaged one counts as absent."""
    try:
        return read_json(path)
    except (ValueError, OSError):
        return None


def _write_beside(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    with temporary.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return temporary
