"""The training loop: Detectron2's trainer base, hooks, event storage and writers around one step of ours.

Differences from `detectron2.engine.SimpleTrainer`: gradients are clipped by their total norm; a loss that is not
finite stops all processes before the weights are touched, with its name; the state that is saved holds everything
that a later step depends on, so that an interrupted run goes on to the same weights, bit for bit on a CPU. What a
step reads is a pure function of its number (`repro.data.loader`), so the data need no state.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.engine.hooks import IterationTimer, PeriodicWriter
from detectron2.engine.train_loop import TrainerBase
from detectron2.utils import comm
from detectron2.utils.events import CommonMetricPrinter, JSONWriter, TensorboardXWriter
from fvcore.common.param_scheduler import ParamScheduler
from torch import nn

from repro.engine import checkpoint, config, distributed, hooks
from repro.errors import StageError

Batches = Callable[[int], Iterator[list[dict[str, Any]]]]
"""From the number of the first step to the batches of this process, from that step on."""

log = logging.getLogger(__name__)


@dataclass
class Fitted:
    """What a training leaves beside its files."""

    weights: dict[str, torch.Tensor]
    iterations: int
    seconds: float
    losses: dict[str, float]


class Trainer(TrainerBase):
    """One step: losses, their sum's gradients, clipping, update, moving average."""

    def __init__(
        self, model: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]
    ) -> None:
        super().__init__()
        device = next(model.parameters()).device
        self.device_type = device.type
        self.model = model.train()
        self.parallel = distributed.parallel(model, device, sync_bn=settings.get("sync_bn", False))
        self.optimizer = optimizer
        self.batches = batches
        self.clip_norm = settings["clip_norm"]
        self.amp = settings["amp"] and device.type == "cuda"
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp)
        self.average = None if settings["ema"] is None else config.build(settings["ema"], model)
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.losses: dict[str, float] = {}
        self.seconds = 0.0
        self.random: Mapping[str, Any] | None = None

    def before_train(self) -> None:
        """Open the data at the first step that is still to be done."""
        self.stream = self.batches(self.start_iter)
        if self.random is not None:  # after opening: a DataLoader draws from torch's generator when it starts
            checkpoint.restore_random_state(self.random)
        self.clock = time.perf_counter()
        super().before_train()

    def run_step(self) -> None:
        """One optimiser step.

        Raises:
            StageError: a loss is not finite, on any process.
        """
        start = time.perf_counter()
        batch = next(self.stream)
        self.storage.put_scalar("data_time", time.perf_counter() - start)
        with torch.autocast(self.device_type, enabled=self.amp):
            losses = self.parallel(batch)
        self.check(losses)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(sum(losses.values())).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.trained, self.clip_norm or float("inf"))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.storage.put_scalars(**self.losses, total_loss=sum(self.losses.values()), grad_norm=float(norm))

    def check(self, losses: Mapping[str, torch.Tensor]) -> None:
        """Average the losses over the processes into ``self.losses``, and stop all of them if one is not finite."""
        names = sorted(losses)
        values = distributed.mean(torch.stack([losses[name].detach().float() for name in names])).tolist()
        self.losses = dict(zip(names, values, strict=True))
        wrong = [f"{name} is {value}" for name, value in self.losses.items() if not abs(value) < float("inf")]
        if wrong:
            raise StageError(f"Iteration {self.iter}: {', '.join(wrong)}. The weights are those before this step.")

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on. All processes must call this together."""
        return {
            "iteration": self.iter + 1,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "random": comm.gather(checkpoint.random_state()),
            "losses": self.losses,
            "seconds": self.seconds + time.perf_counter() - self.clock,
        }

    def restore(self, state: Mapping[str, Any]) -> int:
        """Put a saved state back and return the step to go on with.

        Raises:
            StageError: the state was saved by another number of processes.
        """
        if len(state["random"]) != comm.get_world_size():
            raise StageError(
                f"The checkpoint was written by {len(state['random'])} processes and cannot be continued by "
                f"{comm.get_world_size()} with an equal result. Use as many, or remove it to start over."
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.random = state["random"][comm.get_rank()]
        self.losses, self.seconds = dict(state["losses"]), state["seconds"]
        return state["iteration"]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Final weights: the moving average where there is one."""
        model = self.model if self.average is None else self.average.module
        return {name: value.detach().cpu() for name, value in model.state_dict().items()}


def fit(
    model: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    *,
    schedule: ParamScheduler,
    iterations: int,
    settings: Mapping[str, Any],
    output: Path,
    phase: str = "train",
) -> Fitted:
    """Train from the last checkpoint in ``output``, or from the start.

    Args:
        model: on its device, initialised; returns a dictionary of weighted losses for a list of inputs. Its
            ``before_step(iteration)``, if it has one, is called before each step.
        batches: see `Batches`.
        optimizer: each group has ``initial_lr``.
        schedule: factor on the rates, as a function of progress.
        iterations: steps in all.
        settings: of the recipe's ``train`` section: ``clip_norm``, ``amp``, ``ema`` (None, or a call that takes
            the model, such as `repro.layers.ema.averaged`), the two periods, and, if there, ``sync_bn``.
        output: folder for checkpoints, ``metrics.json``, TensorBoard events and ``progress.json``.
        phase: what to call this in ``progress.json``.

    Raises:
        StageError: a loss is not finite.
    """
    trainer = Trainer(model, batches, optimizer, settings)
    state = checkpoint.latest(output)
    first = 0 if state is None else trainer.restore(state)
    if first:
        log.info("Going on after iteration %d of %d", first, iterations)
    progress = hooks.ProgressFile(output, phase)
    progress.update(first, iterations)
    trainer.register_hooks(
        [
            IterationTimer(),
            hooks.LearningRate(schedule),
            hooks.ModelStep() if hasattr(model, "before_step") else None,
            hooks.Checkpoints(output, settings["checkpoint_period"]),
            hooks.Progress(progress),
            PeriodicWriter(_writers(output, iterations, first), settings["log_period"])
            if comm.is_main_process()
            else None,
        ]
    )
    if first < iterations:
        trainer.train(first, iterations)
        trainer.seconds += time.perf_counter() - trainer.clock
    return Fitted(trainer.weights, iterations, trainer.seconds, trainer.losses)


def _writers(output: Path, iterations: int, first: int) -> list[Any]:
    metrics = output / "metrics.json"
    if metrics.exists():  # an interrupted attempt went further than its last checkpoint
        lines = metrics.read_text().splitlines()
        kept = metrics.with_suffix(".tmp")  # a kill while writing must not take the lines with it
        kept.write_text("".join(f"{line}\n" for line in lines if _before(line, first)))
        kept.replace(metrics)
    return [
        CommonMetricPrinter(iterations),
        JSONWriter(str(metrics), window_size=1),
        TensorboardXWriter(str(output), window_size=1, purge_step=first),
    ]


def _before(line: str, first: int) -> bool:
    try:
        return json.loads(line)["iteration"] < first
    except (ValueError, KeyError):  # cut off by the kill
        return False
