"""How a run looks while it goes on: bars on a terminal, one line an event everywhere else.

Bars show iterations, loss and the time that is left, as each stage writes them into its ``progress.json``. Without a
terminal (a log file, CI) a stage that runs is mentioned at most once a minute.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from repro.cli import output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from repro.harness.launch import Event

QUIET_SECONDS = 60.0
ENDED = {"finished": "done", "failed": "FAILED", "blocked": "blocked", "stopped": "stopped"}
BEGUN = {"submitted": "submitted", "started": "started", "elsewhere": "runs elsewhere"}


class Display(Protocol):
    """Takes the events of a launch; a context manager."""

    def __enter__(self) -> Display: ...
    def __exit__(self, *error: object) -> None: ...
    def __call__(self, event: Event) -> None: ...


def display(total: int, *, on_terminal: bool) -> Display:
    """Return the display for a run of ``total`` stages."""
    return Bars(total) if on_terminal else Lines(total)


class Lines:
    """One line an event, with the count of stages that ended."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.ended = 0
        self.started: dict[str, float] = {}
        self.told: dict[str, float] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self.started.clear()

    def __call__(self, event: Event) -> None:
        """Print the event, unless it only says that a stage goes on and that was said lately."""
        now = time.monotonic()
        if event.what == "progress":
            if event.progress and now - self.told.get(event.signature, now) >= QUIET_SECONDS:
                self._tell(event, "running", where_it_is(event.progress))
            self.told.setdefault(event.signature, now)
            return
        if event.what in BEGUN:
            self.started.setdefault(event.signature, now)
            self._tell(event, BEGUN[event.what], "" if event.reason == "never run" else event.reason)
            return
        self.ended += event.what != "stopped"
        took = output.duration(now - self.started[event.signature]) if event.signature in self.started else ""
        self._tell(event, ENDED[event.what], event.reason or took)

    def _tell(self, event: Event, word: str, more: str) -> None:
        self.told[event.signature] = time.monotonic()
        output.remark(f"[{self.ended}/{self.total}] {word} {event.label}" + (f": {more}" if more else ""))


class Bars:
    """A bar a running stage, one for the whole, and a line above them for each stage that ended."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.bars: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TextColumn("{task.fields[about]}", markup=False),
            console=output.console(stderr=True),
            transient=True,
        )
        self.whole: TaskID = self.bars.add_task("all stages", total=max(total, 1), about=f"0/{total}")
        self.total = total
        self.tasks: dict[str, TaskID] = {}
        self.started: dict[str, float] = {}
        self.ended = 0

    def __enter__(self) -> Bars:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def __call__(self, event: Event) -> None:
        """Bring the bars up to date."""
        if event.what in ENDED:
            self._end(event)
            return
        self.started.setdefault(event.signature, time.monotonic())
        if event.what == "submitted":
            return
        if event.signature not in self.tasks:
            self.tasks[event.signature] = self.bars.add_task(event.label, total=None, about="starting")
        if event.what == "elsewhere":
            self.bars.update(self.tasks[event.signature], about=f"runs elsewhere: {event.reason}")
        elif event.progress:
            done, all_ = event.progress.get("iteration"), event.progress.get("iterations")
            about = where_it_is(event.progress)
            self.bars.update(self.tasks[event.signature], completed=done, total=all_, about=about)

    def _end(self, event: Event) -> None:
        if event.signature in self.tasks:
            self.bars.remove_task(self.tasks.pop(event.signature))
        self.ended += event.what != "stopped"
        self.bars.update(self.whole, completed=self.ended, about=f"{self.ended}/{self.total}")
        since = self.started.get(event.signature)
        more = event.reason or (output.duration(time.monotonic() - since) if since else "")
        self.bars.console.print(f"{ENDED[event.what]:7} {event.label}" + (f": {more}" if more else ""))


def where_it_is(progress: Mapping[str, Any]) -> str:
    """Write a stage's ``progress.json`` in a few words.

    >>> where_it_is({"iteration": 30, "iterations": 120, "eta_seconds": 45, "losses": {"class": 1.5, "box": 0.25}})
    '30/120, loss 1.75, 45 s left'
    """
    parts = [f"{progress['iteration']}/{progress['iterations']}"] if progress.get("iterations") else []
    losses = progress.get("losses") or {}
    total = losses.get("total_loss", sum(losses.values())) if losses else None
    parts += [f"loss {total:.4g}"] if total is not None else []
    parts += [f"{left} left"] if (left := output.duration(progress.get("eta_seconds"))) else []
    return ", ".join(parts) or str(progress.get("phase") or "")
