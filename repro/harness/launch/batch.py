"""One submission to SLURM: which stage each array element runs, written down before ``sbatch`` is called.

``<output_root>/batches/<batch>.json`` says what was asked for and never changes; ``<batch>.job`` holds SLURM's job id,
written by the submitter and, should it have died before that, by the job itself; ``<batch>/`` holds submitit's script,
pickles and logs. ``<output>/batches.json`` leads from a stage to its batches, newest last. Every element of an array is
the same small callable, which finds its stage by the array index: so nothing that a job needs is written after
``sbatch``, and a submitter may be killed at any moment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.harness import atomic
from repro.harness.work import Work

BATCHES = "batches"
WORK = "work.json"
# How long a job waits for its parents' files to appear: NFS may hide a new file for a minute.
PATIENCE = 60.0


@dataclass(frozen=True)
class Batch:
    """What one ``sbatch`` call asks for.

    Attributes:
        name: Date, time and a random part; the job's comment is ``repro:<name>``.
        elements: Array index to signature; a single stage has index 0 and is a plain job.
        helpers: How many more elements help the single stage of this batch, from index 1 on.
        after: SLURM's dependency string; empty for none.
        entry: ``package.module:function`` that runs a stage.
        snapshot: Folder of the code that the jobs run.
    """

    name: str
    output_root: Path
    elements: dict[int, str]
    after: str
    entry: str
    snapshot: Path
    helpers: int = 0
    patience: float = PATIENCE

    @property
    def size(self) -> int:
        """How many jobs it makes."""
        return len(self.elements) + self.helpers

    @property
    def file(self) -> Path:
        """The batch file."""
        return self.output_root / BATCHES / f"{self.name}.json"

    @property
    def folder(self) -> Path:
        """Where submitit keeps the script, the pickles and the logs."""
        return self.output_root / BATCHES / self.name


@dataclass(frozen=True)
class Submitted:
    """What is written down of one submission of a stage.

    Attributes:
        job: SLURM's name, ``12`` or ``12_3``; None when no id was noted, so that it may never have been submitted.
        time: When, in seconds since the epoch.
    """

    batch: str
    index: int
    job: str | None
    time: float


def new_name() -> str:
    """Return a batch name that nobody else draws."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def write(batch: Batch, works: Mapping[str, Work]) -> None:
    """Write down what is about to be submitted: the batch, its stages' work and the way from stage to batch."""
    batch.folder.mkdir(parents=True, exist_ok=True)
    users = batch.output_root / BATCHES / "users"
    users.mkdir(exist_ok=True)
    (users / str(os.getuid())).touch()
    content = dataclasses.asdict(batch) | {"host": socket.gethostname(), "uid": os.getuid(), "time": time.time()}
    atomic.replace(batch.file, json.dumps(content, indent=1, default=str))
    for index, signature in batch.elements.items():
        output = batch.output_root / signature
        output.mkdir(exist_ok=True)
        atomic.replace(output / WORK, works[signature].to_json())
        history = _history(output)
        history.append({"batch": batch.name, "index": index, "time": time.time()})
        atomic.replace(output / f"{BATCHES}.json", json.dumps({"batches": history}, indent=1))


def withdraw(batch: Batch) -> None:
    """Undo ``write`` after SLURM refused the batch."""
    for signature in batch.elements.values():
        output = batch.output_root / signature
        kept = [entry for entry in _history(output) if entry["batch"] != batch.name]
        atomic.replace(output / f"{BATCHES}.json", json.dumps({"batches": kept}, indent=1))
    for left in batch.folder.iterdir():
        left.unlink()
    batch.folder.rmdir()
    batch.file.unlink()


def note_job(output_root: Path, name: str, job: str) -> None:
    """Write down SLURM's id of a batch; whoever comes first, submitter or job, writes the same."""
    atomic.create(output_root / BATCHES / f"{name}.job", job)


def job_of(output_root: Path, name: str) -> str | None:
    """Return SLURM's id of a batch, or None when nobody noted one."""
    try:
        return (output_root / BATCHES / f"{name}.job").read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def elements(output_root: Path, name: str) -> dict[int, str]:
    """Return array index to signature of a batch; empty when the batch is not of this ``output_root``."""
    content = atomic.glance(output_root / BATCHES / f"{name}.json") or {}
    return {int(index): signature for index, signature in content.get("elements", {}).items()}


def helpers(output_root: Path, name: str) -> int:
    """Return how many elements of a batch help its stage without being it."""
    return int((atomic.glance(output_root / BATCHES / f"{name}.json") or {}).get("helpers", 0))


def users(output_root: Path) -> list[str]:
    """Return the ids of all people who ever submitted for this ``output_root``, and still have an account.

    ``squeue`` fails when it is asked for somebody who has left.
    """
    folder = output_root / BATCHES / "users"
    ids = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [number for number in ids if number.isdecimal() and _has_account(int(number))]


def _has_account(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True


def submissions(output_root: Path, signature: str) -> list[Submitted]:
    """Return all submissions of a stage, newest last."""
    found = []
    for entry in _history(output_root / signature):
        number = job_of(output_root, entry["batch"])
        size = len(elements(output_root, entry["batch"])) + helpers(output_root, entry["batch"])
        job = number and element_job(number, entry["index"], size)
        found.append(Submitted(entry["batch"], entry["index"], job, entry["time"]))
    return found


def element_job(number: str, index: int, size: int) -> str:
    """Return SLURM's name of one of ``size`` jobs that were submitted together as ``number``."""
    return number if size == 1 else f"{number}_{index}"


def error(folder: Path, job: str) -> str:
    """Return the last line of what submitit kept of a job that failed before or beside our own code; else nothing."""
    import pickle

    for path in sorted(folder.glob(f"{job}_*_result.pkl")):
        try:
            word, text = pickle.loads(path.read_bytes())
        except (OSError, ValueError, EOFError, pickle.UnpicklingError):
            continue
        if word == "error":
            return str(text).strip().splitlines()[-1]
    return ""


def _history(output: Path) -> list[dict[str, Any]]:
    return list((atomic.glance(output / f"{BATCHES}.json") or {}).get("batches", []))


@dataclass(frozen=True)
class Element:
    """What every task of every job calls. Small, so that handing it back to the queue costs nothing."""

    file: str

    def __call__(self) -> str:
        """Run the stage of this array index, or help it, from where it was left; returns ``payload``'s word."""
        from repro.harness.launch import payload

        # Before all else: what is forked from here on must be deaf to the queue's signals.
        payload.guard_forks()
        content = atomic.read_json(Path(self.file))
        if content is None:
            raise FileNotFoundError(f"{self.file}: the batch file is gone; submit again with `repro run`")
        root = Path(content["output_root"])
        note_job(root, content["name"], os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ["SLURM_JOB_ID"])
        index = os.environ.get("SLURM_ARRAY_TASK_ID", "0")
        helps = index not in content["elements"]
        signature = content["elements"]["0" if helps else index]
        work = Work.from_json((root / signature / WORK).read_text(encoding="utf-8"))
        if content["helpers"]:
            work = dataclasses.replace(work, share=(int(index), 1 + content["helpers"]))
        if helps:
            return payload.assist(work, content["entry"], patience=content["patience"])
        return payload.execute(
            work,
            content["entry"],
            patience=content["patience"],
            distributed=True,
            on_terminate="stop if cancelled",
        )

    def checkpoint(self) -> Any:
        """Hand the stage back to the queue. Its state is on disk already: a requeue from outside calls nothing."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Element(self.file))
