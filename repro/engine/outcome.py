"""What a stage hands back for its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """Results of a stage, apart from what every record holds.

    Attributes:
        metrics: name to number; AP in percent.
        iterations: optimiser steps, images or whatever the kind counts.
        checkpoint: final weights, in the stage's folder.
        artifacts: other files worth their hash.
        origin: ``retrained`` or ``published``.
        implementation: which of several equal implementations ran.
        hardware: what else the record is to say of the machine.
        seconds: time spent in all attempts; 0 takes that of this one.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    iterations: int = 0
    checkpoint: Path | None = None
    artifacts: dict[str, Path] = field(default_factory=dict)
    origin: str = "retrained"
    implementation: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
