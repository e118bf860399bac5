"""Run a plan on this machine: slots side by side, each with a warm worker, stages in the order of their needs.

There is no queue: ``submit`` stays until all is done. Killed, it takes its workers with it, and the next call goes on
where it stopped. Two calls at once share the work: a stage that the other one runs is waited for, not run twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from repro.errors import LaunchError
from repro.harness import atomic, claim, record, state
from repro.harness.cluster import Cluster
from repro.harness.launch import slot as slots
from repro.harness.launch.payload import clear_cancelled, mark_cancelled, write_failure
from repro.harness.launch.request import Launched, Request
from repro.harness.launch.slot import Answer, Slot
from repro.harness.plan import Plan
from repro.harness.work import Work

TICK = 0.2
PROGRESS_SECONDS = 1.0
# How long kinds of stages take beside each other; only their order matters, for the longest path goes first.
WEIGHTS = {
    "encoder": 4.0, "propose": 2.0, "build": 0.1, "pretrain": 10.0, "train": 6.0, "finetune": 5.0, "label": 2.0,
    "evaluate": 1.0,
}  # fmt: skip


def submit(request: Request) -> Launched:
    """Run what ``request`` asks for and return when all is done, failed or waits for what failed.

    SIGINT and SIGTERM end it early: workers leave their stages, which go on from their checkpoints next time.

    Raises:
        LaunchError: the engine cannot be imported.
    """
    with _interrupts() as interrupted:
        return _Run(request, interrupted).run()


def cancel(cluster: Cluster, signatures: list[str]) -> None:
    """End these stages if they run on this machine. Their launcher sees them stopped and does not start them again."""
    for signature in signatures:
        output = cluster.output_root / signature
        mark_cancelled(output)
        holder = claim.last(output)
        if holder and claim.here(holder) and claim.alive(holder, output):
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGTERM)


def lengths(plan: Plan) -> dict[str, float]:
    """Return the length of the longest chain of stages that starts with each stage, itself included."""
    after = dict.fromkeys(plan.stages, 0.0)
    total: dict[str, float] = {}
    for signature, stage in reversed(plan.stages.items()):
        total[signature] = WEIGHTS.get(stage.kind, 1.0) + after[signature]
        for parent in stage.parents.values():
            if parent in after:
                after[parent] = max(after[parent], total[signature])
    return total


class _Run:
    """The state of one ``submit``: each stage of the request is in exactly one of left, a slot, elsewhere or ended."""

    def __init__(self, request: Request, interrupted: Callable[[], int]) -> None:
        self._request = request
        self._interrupted = interrupted
        self._launched = Launched(todo=dict(request.todo))
        long = lengths(request.plan)
        self._left = sorted(request.todo, key=lambda signature: -long[signature])
        self._long = long
        self._elsewhere: set[str] = set(request.waiting)
        self._there = {sig for sig, one in request.states.items() if one.state == "available"}
        self._seen: dict[str, Any] = {}
        self._looked = 0.0
        size = min(slots.count(request.cluster), max(1, len(self._left) + len(self._elsewhere)))
        self._slots = [Slot(i, request.cluster, request.entry, request.code.path) for i in range(size)]

    def run(self) -> Launched:
        for signature in sorted(self._elsewhere):
            self._request.tell("elsewhere", signature, self._request.states[signature].reason)
        try:
            while not self._interrupted() and (self._assign() or self._elsewhere):
                self._listen()
                self._watch()
        finally:
            self._shut_down()
        for signature in [] if self._launched.interrupted else self._left:
            self._launched.blocked[signature] = "what it starts from is neither here nor running"
        return self._launched

    def _assign(self) -> bool:
        """Give free slots the ready stages with the longest way to go; return whether any slot is busy."""
        self._block()
        for slot in self._slots:
            ready = next((sig for sig in self._left if self._ready(sig)), None)
            if slot.work is None and ready is not None:
                self._left.remove(ready)
                self._start(slot, ready)
        return any(slot.work for slot in self._slots)

    def _ready(self, signature: str) -> bool:
        parents = self._request.plan.stages[signature].parents.values()
        return all(parent in self._there or parent not in self._request.plan.stages for parent in parents)

    def _block(self) -> None:
        """Give up the stages behind those that failed; in the plan's order, so that one pass reaches all."""
        ended = self._launched.failed | self._launched.blocked
        for signature in [sig for sig in self._request.plan.stages if sig in self._left]:
            for parent in self._request.plan.stages[signature].parents.values():
                if parent in ended:
                    word = "failed" if parent in self._launched.failed else "could not run"
                    reason = f"{self._request.plan.stages[parent].label} {word}: {ended[parent]}"
                    self._left.remove(signature)
                    self._launched.blocked[signature] = ended[signature] = reason
                    self._request.tell("blocked", signature, reason)
                    break

    def _start(self, slot: Slot, signature: str) -> None:
        work = self._request.work(signature)
        clear_cancelled(work.output)
        slot.send(work)
        self._request.tell("started", signature, self._request.todo.get(signature, ""), slot=slot.index)

    def _listen(self) -> None:
        """Wait a moment for answers, and take them; notice workers that died or run too long."""
        descriptors = [slot.descriptor for slot in self._slots if slot.descriptor is not None]
        select.select(descriptors, [], [], TICK)
        for slot in self._slots:
            death = slot.death()  # before the answers: what a worker said last must not be lost
            for answer in slot.answers():
                self._take(slot, answer)
            if death:
                self._bury(slot, death)
            elif slot.work and (limit := self._limit(slot.work)) and time.monotonic() - slot.since > limit:
                work = slot.work
                slot.close(0)
                self._fail(work, "TimeoutError", f"ran for longer than timeout_min, {limit / 60:g} minutes")

    def _limit(self, work: Work) -> float | None:
        minutes = self._request.cluster.resources(work.stage.kind).timeout_min
        return minutes * 60.0 if minutes else None

    def _take(self, slot: Slot, answer: Answer) -> None:
        if answer.event == "broken":
            raise LaunchError(f"{self._request.entry} cannot be imported:\n{answer.reason}")
        if slot.work is None or answer.event == "ready":
            return
        signature, slot_work = slot.work.stage.signature, slot.work
        slot.work = None
        if answer.event in ("ran", "recorded"):
            self._finish(signature, "" if answer.event == "ran" else "was recorded already")
        elif answer.event == "held":
            self._elsewhere.add(signature)
            self._request.tell("elsewhere", signature, answer.reason)
        elif answer.event == "stopped":
            self._stop(slot_work)
        else:
            self._fail(slot_work, "", answer.reason)

    def _bury(self, slot: Slot, death: str) -> None:
        """Deal with a dead worker: its stage failed, unless it was done or told to stop; others go on."""
        work = slot.work
        slot.close(0)
        if work is None:
            return
        if (work.output / state.CANCELLED).exists():
            self._stop(work)
        elif state.look(work.stage, work.output_root, work.records).state in state.DONE:
            self._finish(work.stage.signature, death)
        else:
            self._fail(work, "WorkerDied", death)

    def _finish(self, signature: str, reason: str = "") -> None:
        self._there.add(signature)
        self._launched.finished.append(signature)
        self._request.tell("finished", signature, reason)

    def _stop(self, work: Work) -> None:
        signature = work.stage.signature
        reason = "cancelled" if (work.output / state.CANCELLED).exists() else "stopped"
        self._launched.failed[signature] = reason
        self._request.tell("stopped", signature, reason)

    def _fail(self, work: Work, error: str, reason: str) -> None:
        if error:  # a worker that could answer has written its failure file itself
            last = claim.last(work.output)
            write_failure(dataclasses.replace(work, attempt=last.number if last else 1), error, reason)
        self._launched.failed[work.stage.signature] = reason
        self._request.tell("failed", work.stage.signature, reason)

    def _watch(self) -> None:
        """Once a second, look at the progress of what runs, and at what others run."""
        if time.monotonic() - self._looked < PROGRESS_SECONDS:
            return
        self._looked = time.monotonic()
        for slot in self._slots:
            if slot.work:
                self._report(slot.work.stage.signature, atomic.glance(slot.work.output / state.PROGRESS), slot.index)
        for signature in sorted(self._elsewhere):
            self._look_elsewhere(signature)

    def _report(self, signature: str, progress: Mapping[str, Any] | None, slot: int | None = None) -> None:
        if progress and progress != self._seen.get(signature):
            self._seen[signature] = progress
            self._request.tell("progress", signature, progress=progress, slot=slot)

    def _look_elsewhere(self, signature: str) -> None:
        request = self._request
        stage = request.plan.stages[signature]
        now = state.look(stage, request.cluster.output_root, request.records)
        if now.live:
            self._report(signature, now.progress)
            return
        self._elsewhere.remove(signature)
        if now.state in state.DONE:
            self._finish(signature, "by another process")
        elif now.state in ("failed", "blocked"):
            self._launched.failed[signature] = now.reason
            request.tell("failed", signature, now.reason)
        elif (request.work(signature).output / state.CANCELLED).exists():
            self._stop(request.work(signature))
        else:  # its process is gone: it is ours now
            self._left = sorted([*self._left, signature], key=lambda sig: -self._long[sig])

    def _shut_down(self) -> None:
        left = [slot.work for slot in self._slots if slot.work]
        self._launched.interrupted = bool(self._interrupted())
        for slot in self._slots:
            slot.ask_to_stop()
        deadline = time.monotonic() + slots.PATIENCE
        for slot in self._slots:
            while slot.descriptor is not None and slot.death() is None and time.monotonic() < deadline:
                if self._interrupted() > 1:  # asked twice: at once
                    break
                time.sleep(0.02)
            slot.close(0)
        for work in left:
            if record.exists(work.stage.signature, work.records):
                self._finish(work.stage.signature, "as we stopped")
            else:
                self._request.tell("stopped", work.stage.signature, "goes on from its last checkpoint next time")


@contextlib.contextmanager
def _interrupts() -> Iterator[Callable[[], int]]:
    """Count SIGINT and SIGTERM instead of dying of them; yields the function that returns the count."""
    count = [0]
    if threading.current_thread() is not threading.main_thread():
        yield lambda: count[0]
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        count[0] += 1

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: count[0]
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
