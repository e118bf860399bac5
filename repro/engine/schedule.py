"""Length of a training and its learning rate: stated in epochs, as papers do, and converted here and nowhere else.

The rate is a function of progress (0 at the start, 1 at the end; fvcore's parameter schedulers), so a run that a scale
shortens keeps the shape of the long one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from fvcore.common.param_scheduler import ParamScheduler

from repro.data.loader import iterations_per_epoch
from repro.errors import RecipeError


def iterations(train: Mapping[str, Any], images: int, total_batch_size: int) -> int:
    """Optimiser steps of a training.

    An epoch is the number of full batches (the last, incomplete one is dropped, as in the published code), and at
    least one.

    Args:
        train: the recipe's section; ``iterations`` when it is set, else ``epochs``.
        images: size of the training set, after taking a share of it.
        total_batch_size: images a step over all processes.
    """
    if train.get("iterations") is not None:
        return int(train["iterations"])
    return max(1, round(train["epochs"] * iterations_per_epoch(images, total_batch_size)))


def learning_rate(train: Mapping[str, Any], steps: int | None = None) -> ParamScheduler:
    """Factor on the base learning rate, as a function of progress: a tenth after each of ``lr_drops`` (epochs).

    Args:
        train: the recipe's section. Where it has ``warmup_iterations``, the rate grows linearly over as many steps, the
            n-th of which has n parts of it; where it also has ``warmup_start``, the first has that part.
        steps: optimiser steps in all; needed for a warm-up.

    Raises:
        RecipeError: the drops do not increase.
    """
    epochs, drops = train["epochs"], list(train["lr_drops"])
    if drops != sorted(set(drops)) or any(drop <= 0 for drop in drops):
        raise RecipeError(f"train.lr_drops are epochs in increasing order, not {drops}")
    rate = Steps([drop / epochs for drop in drops])
    warmup = train.get("warmup_iterations", 0)
    return Warmup(rate, warmup, steps, train.get("warmup_start")) if warmup else rate


class Steps(ParamScheduler):
    """A tenth after each of these shares of the training. (fvcore's own step schedule refuses runs of few epochs.)"""

    def __init__(self, shares: Sequence[float]) -> None:
        self.shares = list(shares)

    def __call__(self, where: float) -> float:
        return 0.1 ** bisect_right(self.shares, where)


class Warmup(ParamScheduler):
    """Another schedule, of which the first steps take a growing part.

    Args:
        schedule: the other one.
        warmup: how many they are.
        steps: in all.
        start: the part of the first one, from which it grows by equal amounts (mmdetection and Detectron2); by default
            one of ``warmup`` (RT-DETR).
    """

    def __init__(self, schedule: ParamScheduler, warmup: int, steps: int, start: float | None = None) -> None:
        self.schedule, self.warmup, self.steps, self.start = schedule, warmup, steps, start

    def __call__(self, where: float) -> float:
        done = round(where * self.steps)
        part = (done + 1) / self.warmup if self.start is None else self.start + (1 - self.start) * done / self.warmup
        return self.schedule(where) * min(part, 1.0)
