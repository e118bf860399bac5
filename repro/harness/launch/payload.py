"""What a job does, wherever it runs: one stage, from its last checkpoint, with every ending written down.

A stage that ends leaves a record; one that fails leaves ``failure.json``; one that is killed leaves an attempt whose
holder is dead (see ``claim``). Nobody needs a queue's memory to tell the three apart.

The rest is about signals, because SLURM and submitit use them freely: forked data-loader workers must not inherit
submitit's handlers (each of them would hand the job back to the queue), and SIGTERM may mean "cancelled" or "about to
be preempted", which only the mark that ``repro cancel`` leaves can tell.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pkgutil
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Literal, NoReturn

from repro.errors import StageError
from repro.harness import atomic, record
from repro.harness.availability import available, verified
from repro.harness.claim import Claim, HeldError
from repro.harness.launch.distributed import export, job, restarts
from repro.harness.state import CANCELLED, FAILURE
from repro.harness.work import Work

STAGE = "stage.json"
HANDED_BACK = -1  # the exit code with which submitit leaves a job that it has just requeued

OnTerminate = Literal["stop", "stop if cancelled", "leave"]
Outcome = Literal["ran", "recorded"]


class Stopped(SystemExit):
    """The stage was told to stop; it goes on from its last checkpoint when it is run again."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class MissingParentError(StageError):
    """A stage cannot start because what it starts from is not there."""


def execute(
    work: Work,
    entry: str,
    *,
    patience: float = 0.0,
    distributed: bool = False,
    on_terminate: OnTerminate = "stop",
) -> Outcome:
    """Run one stage in this process.

    Args:
        work: The stage.
        entry: ``package.module:function``, called with the work; it writes the stage's outputs and its record.
        patience: Seconds to wait for another holder to end and for parents' files to appear, on shared file systems.
        distributed: Whether this is one of a SLURM job's tasks: exports torch's variables when there are several.
        on_terminate: What SIGTERM does. ``stop if cancelled`` stops only a stage that ``mark_cancelled`` marked.

    Returns:
        ``"recorded"`` when there was nothing to do, else ``"ran"``.

    Raises:
        HeldError: another process runs the stage.
        RuntimeError: the stage failed; the reason is in ``failure.json``.
        SystemExit: the stage was stopped, or submitit handed the job back to the queue.
    """
    guard_forks()
    rank = export() if distributed else 0
    if settled(work):
        return "recorded"
    work.output.mkdir(parents=True, exist_ok=True)
    with _terminate(work.output, on_terminate):
        failures = functools.partial(_failures, queued=distributed, attended=on_terminate == "leave")
        if rank:  # the first task holds the claim for all
            with failures(work):
                _check_parents(work, patience)  # each node for itself: what one sees, another may not see yet
                _call(work, entry)
            return "ran"
        claim = _acquire(work, patience)
        state = "failed"
        try:
            if settled(work):  # another process ended it between our look and our claim
                state = "finished"
                return "recorded"
            work = dataclasses.replace(work, attempt=claim.attempt.number)
            _prepare(work)
            with failures(work):
                _check_parents(work, patience)
                _run(work, entry)
            state = "finished"
            return "ran"
        except (Stopped, KeyboardInterrupt):
            state = "stopped"
            raise
        except SystemExit:
            state = "requeued"
            raise
        finally:
            claim.release(state)


def assist(work: Work, entry: str, *, patience: float = 0.0) -> Outcome:
    """Do a share of a stage that another job holds, in one of a SLURM job's tasks.

    Record, failure file and claim are that job's: it meets what goes wrong here when it takes over this share.

    Args:
        work: The stage, with ``work.share``.
        entry: As for ``execute``.
        patience: Seconds to wait for parents' files to appear.

    Returns:
        ``"recorded"`` when there was nothing to do, else ``"ran"``.

    Raises:
        SystemExit: the stage was cancelled, or submitit handed the job back to the queue.
    """
    guard_forks()
    export()
    if settled(work):
        return "recorded"
    work.output.mkdir(parents=True, exist_ok=True)
    with _terminate(work.output, "stop if cancelled"):
        _check_parents(work, patience)
        _call(work, entry)
    return "ran"


def settled(work: Work) -> bool:
    """Return whether the stage is recorded, and its files are here if later stages start from it."""
    records = record.ours(record.read(work.stage.signature, work.records))
    return bool(records) and (work.stage.kind == "evaluate" or available(records, work.output))


def write_failure(work: Work, error: str, message: str, *, trace: str = "", blocked: bool = False) -> bool:
    """Write the stage's ``failure.json`` unless it has one; the first of several failing tasks is the cause."""
    content = {
        "signature": work.stage.signature,
        "label": work.stage.label,
        "error": error,
        "message": message,
        "traceback": trace,
        "blocked": blocked,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "job": job(),
        "restart": restarts(),
        "attempt": work.attempt,
        "time": time.time(),
    }
    work.output.mkdir(parents=True, exist_ok=True)
    return atomic.create(work.output / FAILURE, json.dumps(content, indent=1))


def clear_failure(output: Path) -> None:
    """Put an earlier attempt's failure aside as ``failure.<n>.json``; do nothing when there is none."""
    n = 1
    while (aside := output / f"failure.{n}.json").exists():
        n += 1
    with suppress(FileNotFoundError):
        (output / FAILURE).rename(aside)


def mark_cancelled(output: Path) -> None:
    """Mark the stage as cancelled, before its job is told to end."""
    output.mkdir(parents=True, exist_ok=True)
    content = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
    atomic.replace(output / CANCELLED, json.dumps(content))


def clear_cancelled(output: Path) -> None:
    """Take the mark away, before the stage is submitted again."""
    (output / CANCELLED).unlink(missing_ok=True)


@functools.cache
def guard_forks() -> None:
    """Make every process that is forked from now on deaf to the queue's signals, and mortal by SIGTERM."""

    def defaults() -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.signal(signal.SIGCONT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    os.register_at_fork(after_in_child=defaults)


def _acquire(work: Work, patience: float) -> Claim:
    deadline = time.monotonic() + patience
    while True:
        try:
            return Claim.acquire(work.output, job=job(), restart=restarts())
        except HeldError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(1.0)


def _prepare(work: Work) -> None:
    """Put an earlier attempt's failure aside and write down what this folder is."""
    failure = atomic.glance(work.output / FAILURE)
    ours = failure and job() and (failure.get("job"), failure.get("restart")) == (job(), restarts())
    if not ours:  # another task of this very attempt may have failed already
        clear_failure(work.output)
    content = dataclasses.asdict(work.stage) | {"code": work.code, "records": str(work.records)}
    atomic.replace(work.output / STAGE, json.dumps(content, indent=1, sort_keys=True))


def _run(work: Work, entry: str) -> None:
    """Call the entry, and see to it that it recorded what it did."""
    before = len(record.read(work.stage.signature, work.records))
    _call(work, entry)
    if len(record.read(work.stage.signature, work.records)) == before:
        raise StageError(f"{entry} returned without writing a record to {work.records}")


def _call(work: Work, entry: str) -> None:
    function: Callable[[Work], None] = pkgutil.resolve_name(entry)
    function(work)


@contextmanager
def _failures(work: Work, *, queued: bool, attended: bool) -> Iterator[None]:
    """Turn whatever is raised into a failure file and a RuntimeError, except being stopped or handed back."""
    try:
        yield
    except BaseException as error:
        handed_back = queued and isinstance(error, SystemExit) and error.code == HANDED_BACK
        if isinstance(error, Stopped) or handed_back or (attended and isinstance(error, KeyboardInterrupt)):
            raise
        _fail(work, error)


def _fail(work: Work, error: BaseException) -> NoReturn:
    name, message = type(error).__name__, str(error)
    if isinstance(error, SystemExit):
        message = f"the stage called sys.exit({error.code!r})"
    blocked = isinstance(error, MissingParentError)
    write_failure(work, name, message, trace=traceback.format_exc(), blocked=blocked)
    raise RuntimeError(f"{work.stage.label}: {name}: {message}") from error


def _check_parents(work: Work, patience: float) -> None:
    """Look for the parents' records and files: a queue also starts jobs whose parents it has forgotten."""
    deadline = time.monotonic() + patience
    for name, signature in work.stage.parents.items():
        output = work.parent_output(name)
        while True:
            records = record.read(signature, work.records)
            if records and verified(records, output):
                break
            if time.monotonic() >= deadline:
                raise MissingParentError(_missing(name, signature, output, work, bool(records)))
            time.sleep(1.0)


def _missing(name: str, signature: str, output: Path, work: Work, recorded: bool) -> str:
    if recorded:
        return f"parent {name} ({signature}) is recorded, but {output} lacks its files, or they are not those recorded"
    failure = atomic.glance(output / FAILURE)
    because = f": it failed with {failure['error']}: {failure['message']}" if failure else ""
    return f"parent {name} ({signature}) has no record in {work.records}{because}"


@contextmanager
def _terminate(output: Path, action: OnTerminate) -> Iterator[None]:
    """Handle SIGTERM as ``action`` says while a stage runs. Only a process's main thread can."""
    if action == "leave" or threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if action == "stop" or (output / CANCELLED).exists():
            raise Stopped
        print("SIGTERM ignored: the stage was not cancelled, so this may be the start of a preemption", flush=True)

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
