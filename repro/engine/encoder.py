"""Backbone weights: the kind ``encoder``. Published ones at paper scale, below it a small network trained on the spot.

Either way the output is the same: a backbone's state dictionary under Detectron2's names, which detectors load with its
batch norm frozen. With ``encoder.projection`` the head that it was trained with is kept beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        StageError: that is neither ``published`` nor ``trained``, or published weights are not those of the backbone.
    """
    source = work.stage.recipe["encoder"]["source"]
    if source == "published":
        return _import(work)
    if source == "trained":
        return _train(work, device)
    raise StageError(f"encoder.source is {source!r}; expected published or trained")


def _import(work: Work) -> Outcome:
    recipe = work.stage.recipe
    final = work.output / checkpoint.FINAL
    if comm.is_main_process():
        weights = published.weights(recipe["encoder"], work.output_root / "weights")
        own = _parts(build(recipe["model"]).state_dict(), recipe)
        wrong = [name for name in own if name not in weights]
        wrong += [name for name in weights if name not in own or own[name].shape != weights[name].shape]
        if wrong:
            raise StageError(f"{recipe['encoder']['url']} does not fit the backbone: {', '.join(wrong[:5])} ...")
        checkpoint.save({"model": weights}, final)
    comm.synchronize()
    return Outcome(checkpoint=final, origin="published")


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
