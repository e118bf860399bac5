"""How long inference takes: warm-up, then rounds in which everything that is compared runs once, one after another.

A round is what a ratio is taken in: the machine is slower at one time than at another, for all of them alike. What is
reported is the median, with the tenth and the ninetieth percentile.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

Key = TypeVar("Key", bound=Hashable)

CLOCKS = ("clocks.sm", "clocks.mem", "clocks.max.sm", "temperature.gpu", "power.draw", "pstate")
"""What is asked of nvidia-smi."""


@dataclass(frozen=True)
class Latency:
    """Times of one forward pass, in milliseconds."""

    median: float
    p10: float
    p90: float
    repeats: int

    @property
    def fps(self) -> float:
        """Images in a second, one at a time."""
        return 1000 / self.median


def summarise(seconds: list[float]) -> Latency:
    """Summarise the times of the same pass."""
    p10, median, p90 = np.percentile(np.array(seconds) * 1000, [10, 50, 90]).tolist()
    return Latency(median, p10, p90, len(seconds))


def rounds(
    passes: Mapping[Key, Callable[[], object]],
    warmup: int,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, Latency]:
    """Time passes in turn.

    Args:
        passes: each runs once, to its end.
        warmup: rounds that are not counted.
        repeats: rounds that are.
        clock: seconds.
    """
    seconds: dict[Key, list[float]] = {key: [] for key in passes}
    for turn in range(warmup + repeats):
        for key, run in passes.items():
            start = clock()
            run()
            if turn >= warmup:
                seconds[key].append(clock() - start)
    return {key: summarise(values) for key, values in seconds.items()}


def machine(device: torch.device) -> dict[str, Any]:
    """What a time depends on beside the hardware: threads, and of a GPU its clocks at this moment (MHz, °C, W)."""
    about: dict[str, Any] = {"threads": torch.get_num_threads()}
    return about | {"clocks": clocks(device.index or 0)} if device.type == "cuda" else about


def clocks(gpu: int) -> dict[str, str]:
    """Clocks of a GPU as nvidia-smi tells them; empty where there is none."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", f"--query-gpu={','.join(CLOCKS)}", "--format=csv,noheader,nounits", f"--id={gpu}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    values = [value.strip() for value in done.stdout.split(",")]
    return dict(zip(CLOCKS, values, strict=True)) if len(values) == len(CLOCKS) else {}
