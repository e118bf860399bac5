"""Who runs a stage now. Of many processes that want the same one, exactly one gets it.

Every attempt at a stage is a file ``<output>/attempts/<number>.json`` that is created exclusively; the highest number
holds the stage until it is released or found dead. A dead holder is not removed: the next number is created, which
only one taker can do, so two that find the same holder dead cannot both win. The files are also the count of attempts.

Dead means: the process is gone (same machine), or the file's time has not moved for ``STALE`` seconds (another
machine), or the queue started the same job again. A holder that finds a higher number beside its own has lost the
stage, say after its machine slept, and ends at once rather than write into another's folder.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from repro.errors import LaunchError
from repro.harness import atomic

HEARTBEAT = 10.0
STALE = 120.0
RUNNING = "running"
LOST = 75  # exit status of a process whose stage was taken over


@dataclass(frozen=True)
class Attempt:
    """One attempt at a stage: who makes it, and how it stands.

    Attributes:
        place: The machine, its boot and its process namespace: within one place a process number means something.
        born: The process's start time in clock ticks, since numbers are used again.
        job, restart: The queue's job and how often it was started before; empty outside a queue.
        state: ``running``, or how it ended: ``finished``, ``failed``, ``stopped``, ``requeued``.
    """

    number: int
    host: str
    place: str
    pid: int
    born: int
    started: float
    job: str = ""
    restart: int = 0
    state: str = RUNNING
    ended: float | None = None

    @property
    def where(self) -> str:
        """Host and process, for people."""
        return f"job {self.job} on {self.host}" if self.job else f"process {self.pid} on {self.host}"


class HeldError(LaunchError):
    """Another process runs the stage now."""

    def __init__(self, attempt: Attempt) -> None:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.started))
        super().__init__(f"run by {attempt.where} since {since}")
        self.attempt = attempt


class Claim:
    """The right to run a stage. Get one by ``acquire``; it is kept alive by a thread until ``release``."""

    def __init__(self, output: Path, attempt: Attempt) -> None:
        self.attempt = attempt
        self._output = output
        self._path = _file(output, attempt.number)
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls, output: Path, *, job: str = "", restart: int = 0) -> Claim:
        """Take the stage whose folder is ``output``.

        Raises:
            HeldError: a living process has it.
        """
        (output / "attempts").mkdir(parents=True, exist_ok=True)
        while True:
            holder = last(output)
            if holder and alive(holder, output) and not (job and holder.job == job and holder.restart < restart):
                raise HeldError(holder)
            mine = Attempt(
                number=holder.number + 1 if holder else 1,
                host=socket.gethostname(),
                place=_place(),
                pid=os.getpid(),
                born=_born(os.getpid()) or 0,
                started=time.time(),
                job=job,
                restart=restart,
            )
            if atomic.create(_file(output, mine.number), json.dumps(dataclasses.asdict(mine), indent=1)):
                return cls(output, mine)

    def release(self, state: str) -> None:
        """Give the stage back; ``state`` says how the attempt ended."""
        self._released.set()
        ended = dataclasses.replace(self.attempt, state=state, ended=time.time())
        atomic.replace(self._path, json.dumps(dataclasses.asdict(ended), indent=1))

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            if _file(self._output, self.attempt.number + 1).exists() and not self._released.is_set():
                print(f"{self._output.name}: another process took this stage over; ending", file=sys.stderr, flush=True)
                os._exit(LOST)
            with suppress(OSError):  # a file system that is away for a moment: the next beat counts
                os.utime(self._path)


def last(output: Path) -> Attempt | None:
    """Return the newest attempt at the stage whose folder is ``output``, or None. Numbers have no gaps."""
    number, step = 0, 1
    while _file(output, number + step).exists():  # two, four, eight further ...
        number, step = number + step, step * 2
    while step > 1:  # ... and back by halves
        step //= 2
        if _file(output, number + step).exists():
            number += step
    content = atomic.glance(_file(output, number)) if number else None
    return Attempt(**content) if content else None


def alive(attempt: Attempt, output: Path) -> bool:
    """Return whether ``attempt`` is still being made."""
    if attempt.state != RUNNING:
        return False
    if here(attempt):
        return _born(attempt.pid) == attempt.born
    try:
        beat = _file(output, attempt.number).stat().st_mtime
    except OSError:
        return False
    return _clock(output) - beat < STALE


def here(attempt: Attempt) -> bool:
    """Return whether ``attempt`` is made on this machine, where its process can be seen."""
    return attempt.place == _place()


def _file(output: Path, number: int) -> Path:
    return output / "attempts" / f"{number}.json"


def _place() -> str:
    """Name the set of processes in which a process number has one meaning: host, boot and namespace."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _born(pid: int) -> int | None:
    """Return when the process started; None when it is gone, or dead and not yet collected (state Z or X)."""
    try:
        # After the name, which may hold spaces and parentheses, come state (3rd field) and start time (22nd).
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except OSError:
        if Path("/proc/self").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0


def _clock(output: Path) -> float:
    """Return the time by the file system's clock, which stamps the heartbeats; machines' clocks differ."""
    probe = output / "attempts" / f".clock.{socket.gethostname()}.{os.getpid()}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()
