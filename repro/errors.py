"""Every error a user can cause or meet. The command line prints them without a traceback and exits with 2.

    ReproError                the base: catch this one
    ├── TableError            a table in benchmarks/ is malformed, or a name does not resolve to one
    ├── RecipeError           a recipe cannot be loaded, or a setting names a key that it does not have
    ├── PlanError             a plan file is missing, stale or cannot be made
    ├── ClusterError          a cluster file is malformed, or the cluster refuses what it asks for
    ├── LaunchError           a stage could not be launched, or is locked by somebody else
    ├── StageError            a stage cannot start or go on: missing parent, non-finite loss, vanished worker
    ├── DataError             a data set is missing, incomplete or broken
    │   └── UnknownDataError  there is no data set of that name
    ├── ExportError           a detector cannot be exported, or a file of it not be run
    ├── FigureError           a figure asks for what its drawing does not have, or there is nothing to draw
    ├── RecordError           a record is malformed, contradicts another one, or would be overwritten
    └── InstallError          a library, compiler or service that the command needs is not there

Anything else that escapes is a bug of this project and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ReproError(Exception):
    """Base of all errors that are explained to the user instead of traced."""


class TableError(ReproError):
    """A table is malformed or cannot be found."""


class RecipeError(ReproError):
    """A recipe cannot be loaded or overridden as asked."""


class PlanError(ReproError):
    """A plan is missing, stale or impossible."""


class ClusterError(ReproError):
    """A cluster file is malformed or the cluster refuses it."""


class LaunchError(ReproError):
    """A stage could not be launched."""


class StageError(ReproError):
    """A stage cannot start or cannot go on."""


class DataError(ReproError):
    """A data set is missing, incomplete or broken."""


class UnknownDataError(DataError):
    """There is no data set of that name: a fault of what names it, whatever lies on this machine."""


class ExportError(ReproError):
    """A detector cannot be made a file for other libraries as asked."""


class FigureError(ReproError):
    """A figure is declared wrongly, or what it is drawn from is not there."""


class RecordError(ReproError):
    """A record is malformed or would be overwritten."""


class InstallError(ReproError):
    """Something that the command needs is not installed."""


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Sentence that names what exists: the nearest right name if there is one, else all of them.

    >>> did_you_mean("data.procent", ["data.percent", "train.epochs"])
    'Did you mean data.percent?'
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return f"Known: {', '.join(names)}." if names else "There are none."


def collect(faults: list[str], where: str, error: type[ReproError] = ReproError) -> None:
    """Raise ``error`` with all ``faults`` in one message; do nothing when there are none.

    Raises:
        error: ``where`` has at least one fault.
    """
    if not faults:
        return
    count = f"{len(faults)} fault{'s' if len(faults) != 1 else ''}"
    body = "\n".join("  " + fault.replace("\n", "\n      ") for fault in faults)
    raise error(f"{where} has {count}:\n{body}")
