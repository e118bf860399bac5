"""Who does a piece of work now, where doing it twice is a waste but no harm.

A lease is a file that its holder creates exclusively and touches as it goes. One that was not touched for `STALE`
seconds is free again, for its holder was killed or lost with its machine; one of an earlier life of the holder that
asks is free at once. Two that find the same lease free may both take it, which costs time only; so nothing here needs
locks, process numbers or clocks that agree, and it works on any file system that many machines share (exclusive
creation is atomic on NFS too). Ages are told by that file system's own clock.

Where only one may act, such as to record a stage, there is `repro.harness.claim`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from repro.data.files import temporary_name

STALE = 120.0  # seconds; file systems that cache times show a touch up to a minute late


class Holder(NamedTuple):
    """Who asks for leases: a name that only one process has at a time, and which of that name's lives this is."""

    name: str
    life: str

    @classmethod
    def new(cls, name: str) -> Holder:
        """A new life of that name."""
        return cls(name, secrets.token_hex(4))


def take(path: Path, holder: Holder) -> bool:
    """Take the lease; false if somebody has it.

    Raises:
        FileNotFoundError: Its folder is not there.
    """
    if held(path, holder):
        return False
    with contextlib.suppress(FileExistsError):
        with path.open("x") as file:
            file.write(" ".join(holder))
        return True
    if held(path, holder):  # somebody was faster
        return False
    path.write_text(" ".join(holder))
    return True


def held(path: Path, holder: Holder) -> bool:
    """Whether somebody has it and was seen at work lately, an earlier life of `holder` apart."""
    try:
        name, _, life = path.read_text().partition(" ")
        if name == holder.name and life not in ("", holder.life):
            return False
        return _now(path) - path.stat().st_mtime < STALE
    except FileNotFoundError:
        return False


def touch(path: Path) -> None:
    """Say that its holder is at work; do nothing if the file was removed meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(path)


def _now(path: Path) -> float:
    probe = temporary_name(path)
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
