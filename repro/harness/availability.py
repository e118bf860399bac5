"""Whether what a record describes is still on this disk: its weights and artifacts, whole and unchanged.

A look compares sizes, and hashes only where a stamp of an earlier reading still fits the file; a use (``verified``)
reads the file once and leaves such a stamp. So asking about thousands of stages costs a few ``stat`` calls each, and
weights that were damaged or replaced are found out when they matter, and remembered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from repro.harness import atomic
from repro.harness.record import Record, sha256

STAMPS = "hashes.json"


def available(records: Iterable[Record], output: Path) -> bool:
    """Return whether all files of one of ``records`` seem to be in the stage's folder ``output``.

    A record that describes no files needs none.
    """
    stamps: dict[str, Any] = atomic.glance(output / STAMPS) or {}
    return any(all(_fits(entry, output, stamps) for entry in record.files()) for record in records)


def verified(records: Iterable[Record], output: Path) -> Record | None:
    """Return the newest of ``records`` whose files are in ``output`` with their recorded hashes, or None."""
    records = list(records)
    for record in reversed(records):
        if all(_hash(output, entry["file"]) == entry["sha256"] for entry in record.files()):
            return record
    return None


def _fits(entry: dict[str, Any], output: Path, stamps: dict[str, Any]) -> bool:
    try:
        found = (output / entry["file"]).stat()
    except OSError:
        return False
    if found.st_size != entry["bytes"]:
        return False
    stamp = stamps.get(entry["file"], {})
    known = stamp.get("bytes") == found.st_size and stamp.get("mtime_ns") == found.st_mtime_ns
    return not known or bool(stamp.get("sha256") == entry["sha256"])


def _hash(output: Path, name: str) -> str | None:
    """Return the SHA-256 of a file, from its stamp where that still fits; None when there is no such file."""
    try:
        found = (output / name).stat()
    except OSError:
        return None
    stamps = atomic.glance(output / STAMPS) or {}
    stamp = stamps.get(name, {})
    if stamp.get("bytes") == found.st_size and stamp.get("mtime_ns") == found.st_mtime_ns:
        return str(stamp["sha256"])
    digest = sha256(output / name)
    stamps[name] = {"bytes": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": digest}
    atomic.replace(output / STAMPS, json.dumps(stamps, indent=1, sort_keys=True))
    return digest
