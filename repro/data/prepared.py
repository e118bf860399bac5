"""What `repro data prepare` finds out about published sets, and leaves under the folder of data sets.

A published set is called by one name on every machine, whether it is there or not: its publishers' checksum where
there is one. So a plan that is made where the data are not names the stages that run where they are. `prepare` counts
what it finds: what has the published numbers gets that name, anything else (a part of the set, a replica of its layout)
is called by the hash of its content. That hash is kept in both cases, so that a later change is noticed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from repro.data.files import write_json
from repro.errors import DataError


class Mark(NamedTuple):
    """One set of a family: what it is called, and the hash of its content when it was prepared."""

    fingerprint: str
    content: str


def mark(name: str, published: str, content: str, *, genuine: bool) -> Mark:
    """The mark of a set that has (`genuine`) or has not the published numbers."""
    return Mark(published if genuine else f"{name}-{content}", content)


def write(root: Path, family: str, marks: Mapping[str, Mark]) -> str:
    """Store the marks of a family's sets beside those of its other sets; returns a line that says so."""
    file = _file(root, family)
    write_json(file, {name: one._asdict() for name, one in sorted({**_read(root, family), **marks}.items())})
    return f"wrote {file}"


def fingerprint(root: Path, family: str, name: str) -> str | None:
    """Fingerprint of a prepared set, None if it was not prepared here."""
    found = _read(root, family).get(name)
    return None if found is None else found.fingerprint


def content(root: Path, family: str, name: str) -> str | None:
    """Hash of a prepared set's content when it was prepared, None if it was not prepared here."""
    found = _read(root, family).get(name)
    return None if found is None else found.content


def require(root: Path, family: str, name: str, home: str) -> None:
    """Make sure that a set was prepared.

    Args:
        root: Folder of data sets.
        family: A module of `repro.data.datasets`.
        name: The set.
        home: Where users get it.

    Raises:
        DataError: It was not; the message says where it comes from and how to prepare it.
    """
    if fingerprint(root, family, name) is None:
        raise DataError(
            f"{name}: not prepared under {root}; looked for {_file(root, family)}. Get it from {home}, then run "
            f"`repro data prepare {family} --from DIR` (DETECTRON2_DATASETS or --root names the folder of data sets)"
        )


def _file(root: Path, family: str) -> Path:
    return root / f"{family}.fingerprints.json"


def _read(root: Path, family: str) -> dict[str, Mark]:
    try:
        found = json.loads(_file(root, family).read_text())
        return {name: Mark(**one) for name, one in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{_file(root, family)} is damaged ({error}); run `repro data prepare {family}` again"
        ) from error


def check_writable(root: Path) -> None:
    """Make sure that something can be put under the folder of data sets.

    Raises:
        DataError: It cannot.
    """
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise DataError(f"{existing} cannot be written to. Name another folder of data sets: --root DIR")
