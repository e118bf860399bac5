"""Frames a second of a detector, as papers of real-time detectors measure them (Zhao et al. 2024; Lv et al. 2024).

One image at a time, of a fixed size, from pixels on the device to the detections that are kept; warmed up; the median
of many passes. It depends on the machine and on the library, which the record therefore names. Weights are of no
influence, so a model that was never trained will do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from repro.deploy import backends, latency, timing
from repro.errors import ExportError
from repro.evaluation._model import ModelMeasures


class Evaluator:
    """Times the first library of a list that is here."""

    def __init__(
        self, backends: Sequence[str], precision: str, size: Sequence[int], warmup: int = 20, repeats: int = 200
    ) -> None:
        """Set up.

        Args:
            backends: names of `repro.deploy.backends.BACKENDS`, the preferred one first.
            precision: ``fp16`` where a library can on this machine, else single; or ``fp32``.
            size: (height, width) of the images.
            warmup: passes that are not counted.
            repeats: passes that are.
        """
        self.backends, self.precision = tuple(backends), precision
        self.size = (int(size[0]), int(size[1]))
        self.warmup, self.repeats = warmup, repeats

    def measure(self, model: nn.Module, device: torch.device) -> ModelMeasures:
        """Time a detector: ``fps``, and in milliseconds ``median``, ``p10``, ``p90``."""
        backend, precision = self._chosen(device)
        with tempfile.TemporaryDirectory() as folder:
            one_pass = latency.prepare(model, [backend], self.size, device, precision, Path(folder))
            found = timing.rounds(one_pass, self.warmup, self.repeats)[backend]
            machine = timing.machine(device)  # its clocks as they are under load
        metrics = {"fps": found.fps, "median": found.median, "p10": found.p10, "p90": found.p90}
        return ModelMeasures(metrics | {"repeats": float(found.repeats)}, f"{backend} {precision}", machine)

    def _chosen(self, device: torch.device) -> tuple[str, str]:
        reasons = {}
        for backend in self.backends:
            for precision in dict.fromkeys((self.precision, "fp32")):
                why = backends.missing(backend, device, precision)
                if not why:
                    return backend, precision
                reasons[backend] = why
        told = "; ".join(f"{name}: {why}" for name, why in reasons.items())
        raise ExportError(f"none of the backends can be used here: {told}")
