"""Backbone weights: the kind ``encoder``. Published ones at paper scale, below it a small network trained on the spot.

Published ones are a file of one of the families of `repro.weights`, or what timm has; either may be downloaded, or be a
file of one's own.

Either way the output is the same: a backbone's state dictionary under Detectron2's names, which detectors load with its
batch norm frozen. With ``encoder.projection`` the head that it was trained with is kept beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm

from repro.engine import checkpoint, detector, inputs, parents, published, schedule, train
from repro.engine.config import build
from repro.engine.outcome import Outcome
from repro.errors import StageError
from repro.harness.work import Work


def run(work: Work, found: Mapping[str, parents.Parent], device: torch.device) -> Outcome:
    """Import or train, as the recipe's ``encoder.source`` says.

    Raises:
        StageError: that is none of `SOURCES`, or published weights are not those of the backbone.
    """
    source = work.stage.recipe["encoder"]["source"]
    if source == "trained":
        return _train(work, device)
    if source not in SOURCES:
        raise StageError(f"encoder.source is {source!r}; expected one of {', '.join(SOURCES)}")
    final, folder, recipe, read = work.output / checkpoint.FINAL, work.output_root / "weights", work.stage.recipe, {}
    if comm.is_main_process():
        checkpoint.save({"model": SOURCES[source](recipe, folder)}, final)
        network = recipe["model"]["backbone"]["name"] if source == "timm" else None
        read = published.fingerprint(recipe["encoder"], folder, network)
    comm.synchronize()
    return Outcome(checkpoint=final, origin="published", implementation=read)


def _import(recipe: Mapping[str, Any], folder: Path) -> dict[str, torch.Tensor]:
    weights = published.weights(recipe["encoder"], folder)
    own = _parts(build(recipe["model"]).state_dict(), recipe)
    wrong = [name for name in own if name not in weights]
    wrong += [name for name in weights if name not in own or own[name].shape != weights[name].shape]
    if wrong:
        raise StageError(f"{recipe['encoder']['url']} does not fit the backbone: {', '.join(wrong[:5])} ...")
    return weights


def _import_timm(recipe: Mapping[str, Any], folder: Path) -> dict[str, torch.Tensor]:
    """Of a `TimmBackbone`: timm knows where the weights of its networks are, and how they fit."""
    backbone = recipe["model"]["backbone"]
    if not backbone["_target_"].endswith(".TimmBackbone"):
        raise StageError(f"encoder.source is timm, but model.backbone is {backbone['_target_']}, not a TimmBackbone")
    whole = published.timm_weights(recipe["encoder"], backbone["name"], backbone["options"], folder)
    state = build(backbone, weights=whole).state_dict()
    return _parts({f"backbone.{name}": value for name, value in state.items()}, recipe)


SOURCES: dict[str, Callable[[Mapping[str, Any], Path], dict[str, torch.Tensor]]] = {
    "published": _import,
    "timm": _import_timm,
}
"""Where weights are imported from, as the recipe's ``encoder.source`` names it; ``trained`` is the one that is none."""


def _train(work: Work, device: torch.device) -> Outcome:
    recipe, seed = work.stage.recipe, work.stage.seed
    records = inputs.share(work)
    detector.seed_everything(seed)
    model = build(recipe["model"]).to(device)
    steps = schedule.iterations(recipe["train"], len(records), recipe["data"]["total_batch_size"])
    detector.seed_everything(seed + comm.get_rank())
    fitted = train.fit(
        model,
        detector.batches(recipe, records, seed, {}, steps),
        build(recipe["optimizer"], model),
        schedule=schedule.learning_rate(recipe["train"]),
        iterations=steps,
        settings=recipe["train"],
        output=work.output,
        phase="encoder",
    )
    weights = _parts(fitted.weights, recipe)
    return detector.finish(train.Fitted(weights, fitted.iterations, fitted.seconds, fitted.losses), work.output)


def _parts(state: Mapping[str, torch.Tensor], recipe: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What is kept of a pretext model: its backbone under the backbone's own names, and its projection if asked for."""
    prefix = "backbone."
    kept = {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith(prefix) and not name.endswith("num_batches_tracked")
    }
    if recipe["encoder"].get("projection"):
        kept |= {name: value for name, value in state.items() if name.startswith("projection.")}
    return kept
