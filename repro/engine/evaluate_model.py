"""Measure a model without any images: an ``evaluate`` stage whose recipe has no section ``data``.

Its evaluators, `repro.evaluation.latency` and `repro.evaluation.parameters`, have a method ``measure`` of a model.
"""

from __future__ import annotations

import torch

from repro.engine.config import build
from repro.engine.detector import seed_everything
from repro.engine.outcome import Outcome
from repro.engine.parents import WEIGHTED, Parent
from repro.harness.work import Work


def run(work: Work, parent: Parent, device: torch.device) -> Outcome:
    """Measure the model of a parent: with its weights, where it has trained some."""
    recipe = work.stage.recipe
    seed_everything(work.stage.seed)
    model = build(parent.recipe["model"])
    if parent.kind in WEIGHTED:
        model.load_state_dict(parent.weights())
    model = model.to(device).eval()
    found = {name: build(node).measure(model, device) for name, node in recipe["evaluators"].items()}
    return Outcome(
        metrics={f"{name}.{key}": value for name, one in found.items() for key, value in one.metrics.items()},
        implementation={name: one.implementation for name, one in found.items() if one.implementation},
        hardware={key: value for one in found.values() for key, value in one.machine.items()},
    )
