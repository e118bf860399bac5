"""What happens around training steps: Detectron2 hooks for the learning rate, checkpoints and progress.

Detectron2's own `IterationTimer` and `PeriodicWriter` are used beside these. Its `LRScheduler` and
`PeriodicCheckpointer` are not: the first keeps state that our rate, a pure function of progress, does not need, the
second writes in place.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.engine.train_loop import HookBase
from detectron2.utils import comm
from fvcore.common.param_scheduler import ParamScheduler

from repro.engine import checkpoint


class LearningRate(HookBase):
    """Sets each group's rate before a step: its initial rate times the schedule at this progress."""

    def __init__(self, schedule: ParamScheduler) -> None:
        self.schedule = schedule

    def before_step(self) -> None:
        factor = self.schedule(self.trainer.iter / self.trainer.max_iter)
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        fastest = max(group["lr"] for group in self.trainer.optimizer.param_groups)
        self.trainer.storage.put_scalar("lr", fastest, smoothing_hint=False)


class ModelStep(HookBase):
    """Tells a model that changes with the steps of its training, such as a teacher, which one comes next."""

    def before_step(self) -> None:
        self.trainer.model.before_step(self.trainer.iter)


class Checkpoints(HookBase):
    """Saves the whole training state every ``period`` steps and after the last one."""

    def __init__(self, folder: Path, period: int) -> None:
        self.folder = folder
        self.period = period

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done % self.period == 0 or done == self.trainer.max_iter:
            state = self.trainer.state()  # gathers from all processes
            if comm.is_main_process():
                checkpoint.save_periodic(state, self.folder, done)


class Progress(HookBase):
    """Keeps ``progress.json`` up to date for whoever watches from outside (`repro status`)."""

    def __init__(self, file: ProgressFile) -> None:
        self.file = file

    def after_step(self) -> None:
        self.file.update(self.trainer.iter + 1, self.trainer.max_iter, self.trainer.losses)


class ProgressFile:
    """How far a stage is, written at most every ``period`` seconds, by one process, whole or not at all."""

    def __init__(self, folder: Path, phase: str, period: float = 2.0) -> None:
        self.path = folder / "progress.json"
        self.phase = phase
        self.period = period
        self.started = time.time()
        self.first: tuple[int, float] | None = None
        self.written = 0.0

    def update(self, iteration: int, iterations: int, losses: Mapping[str, float] | None = None) -> None:
        """Report ``iteration`` of ``iterations`` done; the first and the last report are always written."""
        now = time.time()
        if self.first is None:
            self.first = (iteration, now)
        if now - self.written < self.period and iteration < iterations:
            return
        self.written = now
        first, since = self.first
        rate = (now - since) / (iteration - first) if iteration > first else None
        self._write(
            {
                "iteration": iteration,
                "iterations": iterations,
                "started": self.started,
                "updated": now,
                "eta_seconds": rate * (iterations - iteration) if rate is not None else None,
                "losses": dict(losses or {}),
                "phase": self.phase,
            }
        )

    def _write(self, content: dict[str, Any]) -> None:
        if not comm.is_main_process():
            return
        temporary = self.path.with_name(f".progress.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(content))
        temporary.replace(self.path)
