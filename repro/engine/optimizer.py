"""AdamW, with parameters in groups by their names, and plain SGD.

`adamw` has the groups of the DETR family (Zhu et al. 2021, Sec. 5; the authors' code): the backbone learns at a tenth
of the rate, and so do the layers that predict where to sample (``sampling_offsets``, ``reference_points``), whose
output moves the gaze and not the features. Frozen parameters are left out. A factor of 0 freezes: the published code
does the same when the backbone's rate is 0. `adamw_by_group` has groups with rates and weight decays of their own, as
RT-DETR trains. `sgd` is what Faster R-CNN and its kind are trained with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from repro.errors import RecipeError, collect


def adamw(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    lr_factors: Mapping[str, float],
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters of a model.

    Args:
        model: its parameters with `requires_grad` are optimised.
        lr: base learning rate; `initial_lr` of each group is this times the group's factor.
        weight_decay: on all parameters, biases and norms included, as in the published code.
        lr_factors: regular expression to factor, searched in parameter names; the first that is found counts.

    Raises:
        RecipeError: a pattern is in no parameter's name.
    """
    names = [name for name, _ in model.named_parameters()]
    idle = [pattern for pattern in lr_factors if not any(re.search(pattern, name) for name in names)]
    if idle:
        raise RecipeError(f"optimizer.lr_factors: no parameter's name matches {', '.join(idle)}")
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = next((value for pattern, value in lr_factors.items() if re.search(pattern, name)), 1.0)
        if factor == 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            groups.setdefault(factor, []).append(parameter)
    params = [{"params": parameters, **_rate(lr * factor)} for factor, parameters in groups.items()]
    return torch.optim.AdamW(params, lr=lr, weight_decay=weight_decay, fused=True)  # a tenth of the time, CPU too


def adamw_by_group(
    model: nn.Module, lr: float, weight_decay: float, groups: Mapping[str, Mapping[str, Any]]
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters of a model, in groups that say what is theirs.

    Args:
        model: its parameters with `requires_grad` are optimised.
        lr: learning rate of the parameters that are in no group.
        weight_decay: of the parameters that are in no group.
        groups: name of a group to ``pattern`` (a regular expression, searched in parameter names) and its ``lr`` and
            ``weight_decay``. Frozen parameters are passed over. Each group of the optimiser carries its ``name``; the
            last is called ``rest``.

    Raises:
        RecipeError: a parameter is in two groups, or a group has none.
    """
    members: dict[str, list[nn.Parameter]] = {name: [] for name in groups}
    rest: list[nn.Parameter] = []
    faults = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        found = [group for group, settings in groups.items() if re.search(settings["pattern"], name)]
        if len(found) > 1:
            faults.append(f"{name} is in {' and in '.join(found)}")
        (members[found[0]] if found else rest).append(parameter)
    faults += [
        f"no trained parameter's name matches {groups[name]['pattern']} ({name})"
        for name in groups
        if not members[name]
    ]
    collect(faults, "optimizer.groups", RecipeError)
    params = [
        {"name": name, "params": members[name], "weight_decay": settings["weight_decay"], **_rate(settings["lr"])}
        for name, settings in groups.items()
    ]
    if rest:
        params.append({"name": "rest", "params": rest, "weight_decay": weight_decay, **_rate(lr)})
    return torch.optim.AdamW(params, lr=lr, weight_decay=weight_decay, fused=True)


def sgd(model: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD over the trainable parameters of a model, all alike: ``weight_decay`` on biases and norms too."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    group = {"params": trained, **_rate(lr)}
    return torch.optim.SGD([group], lr=lr, momentum=momentum, weight_decay=weight_decay)


def _rate(lr: float) -> dict[str, float]:
    return {"lr": lr, "initial_lr": lr}
