"""A detector from its recipe and a file of weights, ready for use: for whoever shows, exports or times it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repro.engine import checkpoint, config, evaluate
from repro.engine.detector import seed_everything
from repro.errors import StageError

SHOWN = 3  # names of a kind in a message


def load(
    recipe: Mapping[str, Any],
    weights: Path | None,
    device: torch.device,
    seed: int = 0,
    evaluation: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build the model of a recipe, in evaluation.

    Args:
        recipe: resolved; its section ``model`` is built.
        weights: a checkpoint of this project, or a published file of the detector's family; None leaves the weights
            that the seed gives.
        device: where it is put.
        seed: of the weights without a file.
        evaluation: recipe of the evaluation whose settings of inference it gets.

    Raises:
        StageError: the file cannot be read, or does not hold this model's weights.
    """
    seed_everything(seed)
    model: nn.Module = config.build(evaluate.laid_over(recipe["model"], evaluation or {}, "its recipe's model"))
    if weights is not None:
        _fill(model, checkpoint.load_published(weights), weights)
    return model.to(device).eval()


def _fill(model: nn.Module, content: Mapping[str, Any], file: Path) -> None:
    """Load the first reading of a file that has exactly the model's names and shapes."""
    own = {name: value.shape for name, value in model.state_dict().items()}
    faults: list[str] = []
    for state in _readings(model, content, faults):
        found = {name: getattr(value, "shape", None) for name, value in state.items()}
        if found == own:
            model.load_state_dict(state)
            return
        faults.append(_misfit(own, found))
    ours = own.keys() & content.get("model", content).keys()  # else it is the family that has something to say
    told = faults[0] if ours else faults[-1]
    raise StageError(f"{file} does not hold the weights of a {type(model).__name__} of this recipe: {told}")


def _readings(model: nn.Module, content: Mapping[str, Any], faults: list[str]) -> Iterator[Mapping[str, Tensor]]:
    """What a file can mean: our own names, then those of the families that the model's classes belong to.

    What kept one of these families' from being read goes to ``faults``.
    """
    inner = content.get("model", content)
    yield inner
    for kind in type(model).__mro__:
        family = f"repro.weights.{kind.__module__.rpartition('.')[2]}"
        if not kind.__module__.startswith("repro.meta_arch.") or importlib.util.find_spec(family) is None:
            continue
        for given in (content, inner):
            try:
                yield importlib.import_module(family).convert(given)
            except StageError as error:
                faults.append(str(error))
            except (AttributeError, KeyError, TypeError):
                continue  # not of this family


def _misfit(own: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    lists = {
        "missing": [name for name in own if name not in found],
        "unexpected": [name for name in found if name not in own],
        "of another shape": [name for name in own if name in found and own[name] != found[name]],
    }
    return "; ".join(f"{len(names)} {kind} ({', '.join(names[:SHOWN])})" for kind, names in lists.items() if names)
