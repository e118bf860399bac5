"""A moving average of a model's weights, whose momentum is a pure function of the step.

The average stands beside the model that is trained: it is what is evaluated (RT-DETR), a teacher (Tarvainen & Valpola
2017; Soft Teacher) or a target branch (BYOL; ADePT). Beside the training, torch's :class:`AveragedModel` does the
averaging (`averaged`); a model that holds its average as a part of itself calls `move`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from repro.errors import RecipeError

Momentum = Callable[[int], float]
"""Share of the old average that is kept after step n = 1, 2, …"""


class Constant:
    """The same at every step."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, step: int) -> float:
        """Momentum of a step."""
        return self.value


class Cosine:
    """From ``start`` up to 1 after ``steps``, along half a cosine (Grill et al. 2020, BYOL; SoCo)."""

    def __init__(self, start: float, steps: int) -> None:
        self.start, self.steps = start, steps

    def __call__(self, step: int) -> float:
        """Momentum of a step."""
        progress = min(step / self.steps, 1.0)
        return 1 - (1 - self.start) * (math.cos(math.pi * progress) + 1) / 2


class Ramp:
    """From nearly 0 up to ``final``: final · (1 - exp(-n / steps)), so that the first weights are soon forgotten."""

    def __init__(self, final: float, steps: int) -> None:
        self.final, self.steps = final, steps

    def __call__(self, step: int) -> float:
        """Momentum of a step."""
        return self.final * (1 - math.exp(-step / self.steps))


class Rising:
    """As if all weights so far counted alike, until ``final`` is reached (Tarvainen & Valpola 2017's ramp-up).

    min(final, 1 - (1 + warmup) / (n + 1 + warmup)): 0 at step 0, which copies the weights, 1/2 at step 1, 9/10 at 9.
    """

    def __init__(self, final: float, warmup: int = 0) -> None:
        self.final, self.warmup = final, warmup

    def __call__(self, step: int) -> float:
        """Momentum of a step."""
        return min(self.final, 1 - (1 + self.warmup) / (step + 1 + self.warmup))


@torch.no_grad()
def move(average: nn.Module, model: nn.Module, momentum: float, buffers: str = "copy") -> None:
    """Move one model's weights towards another's, of the same build: momentum · average + (1 - momentum) · model.

    Args:
        average: changed in place.
        model: unchanged.
        momentum: share of the average that is kept; 0 copies.
        buffers: ``average`` them like parameters (whole numbers are copied), ``copy`` them, or ``keep`` the average's.

    Raises:
        RecipeError: there is no such way to treat buffers.
    """
    check_buffers(buffers, "average", "copy", "keep")
    ours, theirs = list(average.parameters()), list(model.parameters())
    for mine, other in zip(average.buffers(), model.buffers(), strict=True):
        if buffers == "average" and mine.is_floating_point():
            ours.append(mine)
            theirs.append(other)
        elif buffers != "keep":
            mine.copy_(other)
    torch._foreach_lerp_(ours, theirs, 1 - momentum)


def check_buffers(buffers: str, *known: str) -> None:
    """Raise a RecipeError if that is none of the ways to treat buffers."""
    if buffers not in known:
        raise RecipeError(f"An average's buffers is {buffers!r}; expected {', '.join(known[:-1])} or {known[-1]}")


def averaged(model: nn.Module, momentum: Momentum, buffers: str = "average") -> AveragedModel:
    """A copy of the model that ``update_parameters(model)`` moves towards it, once after every step.

    Args:
        model: where the average starts: unlike torch's own, it is not replaced by the model after the first step.
        momentum: see `Momentum`.
        buffers: ``average`` them like parameters (integers among them are rounded down), or ``copy`` them. Published
            codes differ in it, and it shifts models with batch normalisation.

    Returns:
        The average, in ``module``; its state holds the number of steps.

    Raises:
        RecipeError: there is no such way to treat buffers.
    """
    check_buffers(buffers, "average", "copy")

    def update(averages: list[Tensor], values: list[Tensor], step: Tensor) -> None:
        get_ema_multi_avg_fn(momentum(int(step)))(averages, values, step)

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=buffers == "average")
    average.requires_grad_(False)
    average.n_averaged.fill_(1)  # at 0 torch would take the first weights it sees for the average
    return average
