"""What lies under an output root that no plan needs, and its removal.

Kept always: folders of stages that a plan names, that are running or that were run for another folder of records (an
output root may be shared, and the others' plans are not seen here), data sets, and whatever this module does not know.
Records are never touched: they are measurements, not files of a run.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from repro.harness import atomic, claim, record
from repro.harness.availability import available
from repro.harness.launch.batch import BATCHES
from repro.harness.plan import Plan

SIGNATURE = re.compile(r"[0-9a-f]{12}")
DAY = 86_400.0
KEPT_CODE = 30 * DAY  # a job may start, or start again, weeks after its code was frozen


@dataclass(frozen=True)
class Garbage:
    """Something that no plan needs: a file or a folder, its size, and why."""

    path: Path
    bytes: int
    reason: str


def gc(plans: Iterable[Plan], output_root: Path, *, records: Path, dry_run: bool = False) -> list[Garbage]:
    """Remove what none of ``plans`` needs, and return it.

    Args:
        plans: All plans that count; what only others need goes.
        output_root: Where stages keep their folders.
        records: Folder of the records, only read.
        dry_run: Remove nothing.
    """
    needed = {signature for plan in plans for signature in plan.stages}
    found = [
        *_stages(output_root, needed, records),
        *_leftovers(output_root, needed, records),
        *_batches(output_root),
        *_code(output_root),
    ]
    if not dry_run:
        for garbage in found:
            _remove(garbage.path)
    return found


def _stages(root: Path, needed: set[str], records: Path) -> Iterator[Garbage]:
    """Yield the folders of stages that no plan names, that nobody runs and that are nobody else's."""
    for folder in sorted(root.glob("*")):
        if not SIGNATURE.fullmatch(folder.name) or folder.name in needed or not _ours(folder, records):
            continue
        holder = claim.last(folder)
        if not (holder and claim.alive(holder, folder)):
            label = (atomic.glance(folder / "stage.json") or {}).get("label", "a stage that never started")
            yield Garbage(folder, _size(folder), f"no plan names it ({label})")


def _leftovers(root: Path, needed: set[str], records: Path) -> Iterator[Garbage]:
    """Yield periodic checkpoints of stages that are finished and have their final weights."""
    for signature in sorted(needed):
        checkpoints = sorted((root / signature).glob("checkpoint_*.pth"))
        if not checkpoints:
            continue
        holder = claim.last(root / signature)
        measured = record.read(signature, records)
        if (
            measured
            and available(measured, root / signature)
            and not (holder and claim.alive(holder, root / signature))
        ):
            yield from (Garbage(path, _size(path), "the stage is finished") for path in checkpoints)


def _code(root: Path) -> Iterator[Garbage]:
    """Yield frozen code that was not used for weeks, and copies that were never completed."""
    for folder in sorted((root / "code").glob("*")):
        age = time.time() - folder.stat().st_mtime
        if folder.name.startswith(".making-") and age > DAY:
            yield Garbage(folder, _size(folder), "a copy of the code that was never completed")
        elif not folder.name.startswith(".") and age > KEPT_CODE:
            yield Garbage(folder, _size(folder), f"code that no launch used for {age / DAY:.0f} days")


def _batches(root: Path) -> Iterator[Garbage]:
    """Yield what is left of submissions of which no stage has a folder any more: scripts, pickles, the jobs' output."""
    for file in sorted((root / BATCHES).glob("*.json")):
        stages = (atomic.glance(file) or {}).get("elements", {}).values()
        # Not at once: a batch is written down before the folders of its stages are made.
        if any((root / stage).exists() for stage in stages) or time.time() - file.stat().st_mtime < DAY:
            continue
        for path in (file.with_suffix(""), file.with_suffix(".job"), file):
            if path.exists():
                yield Garbage(path, _size(path), "a submission of which no stage is left")


def _ours(folder: Path, records: Path) -> bool:
    """Return whether a folder is a stage's, and was not run for another folder of records that is still there."""
    if not any((folder / name).exists() for name in ("attempts", "stage.json", "work.json", "failure.json")):
        return False
    about = atomic.glance(folder / "stage.json") or atomic.glance(folder / "work.json") or {}
    others = Path(about.get("records") or records)
    return not others.is_dir() or others.resolve() == records.resolve()


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(inner.lstat().st_size for inner in path.rglob("*") if inner.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
