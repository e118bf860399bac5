"""A warm worker: a process that imports the engine once and then runs one stage after another.

Work comes as JSON lines on standard input; answers go as JSON lines to the file descriptor named on the command line.
Whatever a stage prints, from any library, goes to ``<output>/log.txt``. When standard input ends, the launcher is
gone, and the worker ends with all its children at once: the stage goes on from its last checkpoint when run again.

    python -m repro.harness.launch.worker <entry> <descriptor>
"""

from __future__ import annotations

import json
import os
import pkgutil
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from repro.harness.claim import HeldError
from repro.harness.launch.payload import Stopped, execute, guard_forks
from repro.harness.work import Work

LOG = "log.txt"


class _Orders:
    """Lines of standard input, read by a thread, so that its end is noticed while a stage runs."""

    def __init__(self, lines: IO[str]) -> None:
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._open = 0
        self._lines = lines
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def __iter__(self) -> Iterator[str]:
        while (line := self._queue.get()) is not None:
            yield line
            self._open -= 1

    def _read(self) -> None:
        for line in self._lines:
            self._open += 1
            self._queue.put(line)
        if self._open:
            os.killpg(os.getpgrp(), signal.SIGKILL)  # with the data loaders
        self._queue.put(None)


def serve(entry: str, answers: IO[str]) -> None:
    """Import ``entry``, then run the stages that arrive until standard input ends."""

    def answer(event: str, reason: str = "") -> None:
        answers.write(json.dumps({"event": event, "reason": reason}) + "\n")
        answers.flush()

    guard_forks()
    orders = _Orders(sys.stdin)
    try:
        pkgutil.resolve_name(entry)
    except BaseException:
        answer("broken", traceback.format_exc())
        raise
    answer("ready")
    for line in orders:
        work = Work.from_json(line)
        work.output.mkdir(parents=True, exist_ok=True)
        with _output_to(work.output / LOG):
            try:
                answer(execute(work, entry))
            except HeldError as error:
                answer("held", str(error))
            except Stopped:
                answer("stopped")
                raise
            except RuntimeError as error:
                traceback.print_exc()
                answer("failed", str(error))


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send what this process and its children print to ``path``; it is appended to."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for saved, target in zip(kept, (1, 2), strict=True):
            os.dup2(saved, target)
            os.close(saved)
        os.close(log)


if __name__ == "__main__":
    serve(sys.argv[1], os.fdopen(int(sys.argv[2]), "w", encoding="utf-8"))
