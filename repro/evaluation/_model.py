"""What the evaluators of a model alone have in common: those that ask how large or how fast it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelMeasures:
    """What an evaluator's ``measure(model, device)`` returns.

    Attributes:
        metrics: Name to number.
        implementation: Which of several libraries ran; empty where there is one only.
        machine: What it depends on, of the machine.
    """

    metrics: dict[str, float]
    implementation: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
