"""One slot of the local machine: a warm worker, started when it is first needed and again when it dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from repro.harness.cluster import Cluster
from repro.harness.work import Work

MOST_SLOTS = 8  # of a machine without GPUs, unless its file says more: memory, not cores, runs out first
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PATIENCE = 10.0  # seconds between asking a worker to end and killing it


def count(cluster: Cluster) -> int:
    """Return how many slots ``cluster`` has here."""
    return cluster.slots or cluster.gpus or min(cores(), MOST_SLOTS)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(cluster: Cluster, index: int, code: Path) -> dict[str, str]:
    """Return the environment of a slot's worker: its share of the cores, its GPU and the frozen code."""
    variables = dict(os.environ)
    variables |= dict.fromkeys(THREADS, str(max(1, cores() // count(cluster))))
    visible = [name for name in variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    devices = (visible or [str(number) for number in range(cluster.gpus)])[: cluster.gpus]
    variables["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)] if devices else ""
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(code), variables.get("PYTHONPATH", "")]))
    variables["PYTHONUNBUFFERED"] = "1"
    return variables


@dataclass(frozen=True)
class Answer:
    """What a worker said: ready, ran, recorded, held, failed, stopped or broken, and why."""

    event: str
    reason: str = ""


class Slot:
    """A place that runs one stage at a time.

    Attributes:
        work: What runs here now; None when nothing does.
        since: When it was sent, on the monotonic clock.
    """

    def __init__(self, index: int, cluster: Cluster, entry: str, code: Path) -> None:
        self.index = index
        self.work: Work | None = None
        self.since = 0.0
        self._entry = entry
        self._python = cluster.python or sys.executable
        self._environment = environment(cluster, index, code)
        self._log = cluster.output_root / "workers" / f"slot{index}.log"
        self._process: subprocess.Popen[str] | None = None
        self._answers = -1
        self._buffer = b""

    @property
    def descriptor(self) -> int | None:
        """What to select on for answers; None without a worker."""
        return self._answers if self._process else None

    def send(self, work: Work) -> None:
        """Have the worker run ``work``; a worker is started if there is none."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        self.work, self.since = work, time.monotonic()
        with suppress(BrokenPipeError):  # it died meanwhile: ``death`` tells
            orders = self._orders()
            orders.write(work.to_json() + "\n")
            orders.flush()

    def answers(self) -> list[Answer]:
        """Return what the worker has said since the last call, without waiting."""
        if self._process is None:
            return []
        with suppress(BlockingIOError):
            while chunk := os.read(self._answers, 65536):
                self._buffer += chunk
        *lines, self._buffer = self._buffer.split(b"\n")
        return [Answer(**json.loads(line)) for line in lines]

    def death(self) -> str | None:
        """Return how the worker died, or None while it lives."""
        status = self._process.poll() if self._process else None
        if status is None:
            return None
        if status >= 0:
            return f"the worker ended with exit status {status}"
        name = signal.Signals(-status).name
        hint = ": out of memory, or killed by hand" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{hint}"

    def ask_to_stop(self) -> None:
        """Ask the worker to leave its stage, or to end when it has none; returns at once."""
        if self._process is None or self._process.poll() is not None:
            return
        if self.work:
            self._process.terminate()
        else:
            with suppress(BrokenPipeError):
                self._orders().close()

    def close(self, patience: float = PATIENCE) -> None:
        """Wait for the worker's end, then kill what is left of it and its children."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with suppress(BrokenPipeError):
            self._orders().close()
        os.close(self._answers)
        self._process, self._buffer, self.work = None, b"", None

    def _start(self) -> None:
        self.close(0)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._answers, theirs = os.pipe()
        os.set_blocking(self._answers, False)
        # -P: the folder we stand in must not hide the frozen code. A session of its own: Ctrl-C reaches only us,
        # and the worker's data loaders can be ended with it.
        with self._log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [self._python, "-P", "-m", "repro.harness.launch.worker", self._entry, str(theirs)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                pass_fds=(theirs,),
                start_new_session=True,
                text=True,
            )
        os.close(theirs)

    def _orders(self) -> IO[str]:
        assert self._process is not None
        assert self._process.stdin is not None
        return self._process.stdin
