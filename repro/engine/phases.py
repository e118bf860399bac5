"""How samples are made in the course of a training: one way, or two, the second in its last epochs.

RT-DETRv2 (Lv et al. 2024, Section 2.2) calls it dynamic data augmentation. A recipe may have, beside ``data.mapper``:
``data.late_mapper``, which makes the samples of the last epochs, ``data.policies``, by name, and ``data.policy``, the
name of the one that counts. A policy has ``late_epochs``, how many those are, and ``sizes``, the sides that whole
batches are resized to before them (None leaves them as they are). A recipe without these makes all samples alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repro.data.augmentations.multi_scale import MultiScale
from repro.data.loader import Phases
from repro.engine.config import build
from repro.errors import RecipeError, did_you_mean


def phases(recipe: Mapping[str, Any], steps: int, extra: Mapping[str, Any]) -> Phases:
    """The mappers of a training.

    Args:
        recipe: its ``data`` and ``train`` sections.
        steps: optimiser steps in all; a run that is shorter than its epochs keeps the share of the last ones.
        extra: arguments of mappers that are known in a job only.

    Raises:
        RecipeError: there is no policy of the name, or it has more last epochs than there are epochs.
    """
    data, epochs = recipe["data"], recipe["train"]["epochs"]
    mapper = build(data["mapper"], **extra)
    if "policies" not in data:
        return Phases(mapper)
    policy, policies = data["policy"], data["policies"]
    if policy not in policies:
        raise RecipeError(f"There is no data.policies.{policy}. {did_you_mean(policy, policies)}")
    late, sizes = policies[policy]["late_epochs"], policies[policy]["sizes"]
    if late > epochs:
        raise RecipeError(f"data.policies.{policy}.late_epochs is {late}, of {epochs} epochs in all")
    resize = None if sizes is None else MultiScale(sizes)
    if not late:
        return Phases(mapper, resize)
    return Phases(mapper, resize, build(data["late_mapper"], **extra), steps - round(steps * late / epochs))
