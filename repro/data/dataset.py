"""What a data set is to this project: a name, a fingerprint, COCO-style annotations and a folder of images.

Every module of `repro.data.datasets` describes its sets with `Dataset`; everything that follows (reading, checking,
converting) works on that description and knows no particular set. Free of torch, since planning asks for fingerprints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a data set.

    Attributes:
        kind: One of `repro.data.records.KINDS`, the same words in messages, tests and `Dataset.known`.
        where: File and id, enough to find the thing by hand.
        what: What is wrong with it.
    """

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.what}"


class Source(NamedTuple):
    """Annotations in COCO layout, not yet checked.

    Attributes:
        annotations: Dictionary with `images`, `annotations` and `categories`. An annotation may carry `origin`, the
            words that name it in messages (file and position), when its id is one that we made up.
        images: Folder that `file_name` is relative to.
        file: File the annotations came from, for messages.
        faults: What reading them has already found (a VOC file that is not XML, say).
    """

    annotations: dict[str, Any]
    images: Path
    file: Path
    faults: tuple[Fault, ...] = ()


Progress = Callable[[str, int, int], None]
"""Is told what is being counted, how many are done, and how many there are."""


def quiet(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def nothing_known(fault: Fault) -> bool:
    """The default of `Dataset.known`: every fault is news."""
    return False


@dataclass(frozen=True)
class Dataset:
    """Description of one data set (one split of it). Making it touches no file.

    Attributes:
        name: The name recipes use.
        fingerprint: Returns a short string that changes when, and only when, the content does.
        source: Reads (generating or converting if need be) the annotations.
        file: Annotation file in COCO layout if the set has one (generated or looked for when called), else None.
        classes: Class names in the order of contiguous ids; None takes the categories of the file, by ascending id.
        expected: Number of images and annotations as published; `check` compares.
        known: Says of a fault that the publishers' own files have it: such boxes are left out and reported, and do
            not stop a run.
        looked_for: Paths that must exist, for the message when they do not.
        categories: The list of that name in the annotations, where it is known without reading them.
        actual: Computes the hash of what lies there now, where `fingerprint` is a stored or published one.
        stored: The hash that `prepare` found, where `fingerprint` is a published name; None if nothing is stored.
        records: Dataset dictionaries from an index that `prepare` checked, of a set that is too large to be looked
            through whenever a stage starts.
    """

    name: str
    fingerprint: Callable[[], str]
    source: Callable[[], Source]
    file: Callable[[], Path] | None = None
    classes: tuple[str, ...] | None = None
    expected: tuple[int, int] | None = None
    known: Callable[[Fault], bool] = nothing_known
    looked_for: tuple[Path, ...] = ()
    categories: Callable[[], list[dict[str, Any]]] | None = None
    actual: Callable[[], str] | None = None
    stored: Callable[[], str | None] | None = None
    records: Callable[[], Sequence[dict[str, Any]]] | None = None


def output_root() -> Path:
    """Where this project writes when nothing else is said: `$REPRO_OUTPUT`, else `~/.cache/repro`."""
    return Path(os.environ.get("REPRO_OUTPUT") or Path.home() / ".cache" / "repro").expanduser()


def datasets_root(root: str | Path | None = None) -> Path:
    """Folder of data sets: `root`, else Detectron2's `$DETECTRON2_DATASETS`, else `datasets` under `output_root`."""
    if root is not None:
        return Path(os.path.expandvars(str(root))).expanduser()
    return Path(os.environ.get("DETECTRON2_DATASETS") or output_root() / "datasets").expanduser()


def writable_root(root: str | Path | None = None) -> Path:
    """Where generated and converted data go: `datasets_root` if it can be written to (COCO's often cannot)."""
    folder = datasets_root(root)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return folder if os.access(existing, os.W_OK) else output_root() / "datasets"
