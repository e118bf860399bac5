"""What a stage takes over from the stages before it: their recipes, their files, and their weights into its model.

Weights are loaded strictly. Which part of a parent's weights a model takes, and which it leaves behind, is said by the
recipe's ``init`` section; everything else that does not fit is an error. A model that silently ignores half of a
checkpoint is how pretraining comes to "bring nothing" (published loaders use ``strict=False``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from repro.engine import checkpoint
from repro.errors import StageError
from repro.harness import record
from repro.harness.availability import verified
from repro.harness.work import Work

WEIGHTED = ("encoder", "pretrain", "train", "finetune")
"""Kinds of stages whose output is `checkpoint.FINAL`."""


@dataclass(frozen=True)
class Parent:
    """A finished stage that this one builds on."""

    name: str
    kind: str
    folder: Path
    recipe: dict[str, Any]
    origin: str = "retrained"
    """Where its weights come from, as its record says."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Its final weights."""
        return checkpoint.load(self.folder / checkpoint.FINAL)["model"]


def of(work: Work) -> dict[str, Parent]:
    """Parents of a stage by kind, each with its files there and equal to what one of its records says.

    Raises:
        StageError: a parent has no record, or its files are missing or not those of any of its records; all are named.
    """
    faults: list[str] = []
    parents = {}
    for name, signature in work.stage.parents.items():
        folder = work.parent_output(name)
        faults += _faults(name, signature, folder, work.records)
        if (folder / "stage.json").is_file():
            stage = json.loads((folder / "stage.json").read_text())
            known = record.read(signature, work.records)
            origin = known[-1].origin if known else "retrained"
            parents[stage["kind"]] = Parent(name, stage["kind"], folder, stage["recipe"], origin)
    if faults:
        raise StageError(f"{work.stage.label} cannot start:\n  " + "\n  ".join(faults))
    return parents


def _faults(name: str, signature: str, folder: Path, records: Path) -> list[str]:
    if not (folder / "stage.json").is_file():
        return [f"its parent {name} ({signature}) has no {folder / 'stage.json'}: run that stage here first"]
    known = record.read(signature, records)
    if not known:
        return [f"its parent {name} ({signature}) has no record in {records}: it has not finished"]
    if verified(known, folder):
        return []
    faults = []
    for entry in known[-1].files():
        path = folder / entry["file"]
        if not path.is_file():
            faults.append(f"its parent {name} ({signature}) has no {path}: run that stage again")
        elif checkpoint.sha256(path) != entry["sha256"]:
            faults.append(
                f"{path} of its parent {name} is not the file that its record describes: run that stage again"
            )
    return faults


def initialise(model: nn.Module, init: Mapping[str, Mapping[str, Any]], parents: Mapping[str, Parent]) -> None:
    """Load parents' weights into a model as ``init`` says.

    Args:
        model: changed in place.
        init: kind of parent to ``{"into": [attributes]}`` (the whole of its weights into each of these parts of the
            model), ``{"into": {attribute: [names]}}`` (the same, but for weights that have one of these names among
            the parts of their own: a shorter network drops the stages it does not have) or ``{"drop": [names]}`` (its
            weights into the model, but for those that have one of these names among the parts of their own; the
            model's own such weights stay as they are initialised).
        parents: by kind. Kinds in ``init`` that the stage does not have are passed over.

    Raises:
        StageError: a parent with weights is not mentioned in ``init``, or its weights do not fit exactly.
    """
    for kind, parent in parents.items():
        if kind not in WEIGHTED:
            continue
        if kind not in init:
            raise StageError(f"The recipe's init says nothing of the weights of parent {parent.name} (kind {kind})")
        rule, weights = init[kind], parent.weights()
        if "into" in rule:
            into = rule["into"]
            for attribute in into:
                drop = tuple(into[attribute]) if isinstance(into, Mapping) else ()
                load(model.get_submodule(attribute), weights, drop, f"{attribute} from {parent.name}")
        else:
            load(model, weights, tuple(rule["drop"]), f"the model from {parent.name}")


def load(module: nn.Module, weights: Mapping[str, torch.Tensor], drop: tuple[str, ...], what: str) -> None:
    """Load all weights into a module, but for those with a name of ``drop`` among the parts of their own.

    Raises:
        StageError: they do not fit exactly; ``what`` says what and whose they are.
    """

    def dropped(name: str) -> bool:
        return any(part in drop for part in name.split("."))

    own = module.state_dict()
    kept = {name: value for name, value in weights.items() if not dropped(name)}
    missing = [name for name in own if name not in kept and not dropped(name)]
    unexpected = [name for name in kept if name not in own]
    misfits = [name for name in kept if name in own and own[name].shape != kept[name].shape]
    if missing or unexpected or misfits:
        lists = {"missing": missing, "unexpected": unexpected, "of another shape": misfits}
        found = [f"{len(names)} {kind} ({', '.join(names[:3])} ...)" for kind, names in lists.items() if names]
        raise StageError(f"Weights do not fit {what}: {'; '.join(found)}")
    module.load_state_dict(kept, strict=False)
