"""Make the model of a recipe and train nothing: the kind ``build``.

What is measured of a model and not of its weights, its size and its speed, follows such a stage in place of a training.
It leaves a list of the model's parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch

from repro.engine.config import build
from repro.engine.detector import seed_everything
from repro.engine.outcome import Outcome
from repro.engine.parents import Parent
from repro.harness import atomic
from repro.harness.work import Work

FILE = "parameters.json"


def run(work: Work, found: Mapping[str, Parent], device: torch.device) -> Outcome:
    """Build the recipe's model with the weights that the seed gives, and list its parameters with their shapes."""
    seed_everything(work.stage.seed)
    model = build(work.stage.recipe["model"])
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    atomic.replace(work.output / FILE, json.dumps(shapes, indent=0) + "\n")
    total = sum(parameter.numel() for parameter in model.parameters())
    return Outcome(metrics={"parameters": float(total)}, artifacts={"parameters": work.output / FILE})
