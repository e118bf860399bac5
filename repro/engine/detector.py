"""Train a detector, or import one: the kinds ``pretrain``, ``train`` and ``finetune``, which differ in recipes only."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.utils import comm

from repro.data import proposals
from repro.data.loader import train_loader
from repro.engine import checkpoint, imported, inputs, mixed, parents, schedule, train
from repro.engine.config import build
from repro.engine.outcome import Outcome
from repro.engine.phases import phases
from repro.harness.work import Work

log = logging.getLogger(__name__)


def run(work: Work, found: Mapping[str, parents.Parent], device: torch.device) -> Outcome:
    """Train the recipe's model on the recipe's data, starting from the parents' weights; or import published ones."""
    if "published" in work.stage.recipe:
        return imported.run(work)
    recipe, seed = work.stage.recipe, work.stage.seed
    pools = mixed.pools(work, found) if "unlabelled" in recipe["data"] else inputs.Pools(inputs.share(work), ())
    log.info("%s: %d images, %d without labels", work.stage.label, len(pools.labelled), len(pools.unlabelled))
    seed_everything(seed)  # the same weights on every process
    model = build(recipe["model"])
    parents.initialise(model, recipe["init"], found)
    model.to(device)
    seed_everything(seed + comm.get_rank())  # but other dropout
    steps = schedule.iterations(recipe["train"], len(pools.labelled), recipe["data"]["total_batch_size"])
    fitted = train.fit(
        model,
        mixed.batches(recipe, pools, seed) if pools.unlabelled else batches(recipe, pools.labelled, seed, found, steps),
        build(recipe["optimizer"], model),
        schedule=schedule.learning_rate(recipe["train"], steps),
        iterations=steps,
        settings=recipe["train"],
        output=work.output,
        phase=work.stage.kind,
    )
    return finish(fitted, work.output)


def finish(fitted: train.Fitted, output: Path) -> Outcome:
    """Write the final weights and say what the training came to."""
    final = output / checkpoint.FINAL
    if comm.is_main_process():
        checkpoint.save({"model": fitted.weights}, final)
    metrics = {f"last.{name}": value for name, value in fitted.losses.items()}
    return Outcome(metrics=metrics, iterations=fitted.iterations, checkpoint=final, seconds=fitted.seconds)


def batches(
    recipe: Mapping[str, Any],
    records: Sequence[dict[str, Any]],
    seed: int,
    found: Mapping[str, parents.Parent],
    steps: int,
) -> train.Batches:
    """The training loader as a function of the first step; it gets the proposals of a ``propose`` parent."""
    data = recipe["data"]
    extra = {"proposals": proposals.Proposals(found["propose"].folder / proposals.FILE)} if "propose" in found else {}
    made = phases(recipe, steps, extra)

    def start(iteration: int) -> Any:
        return train_loader(
            records,
            made,
            total_batch_size=data["total_batch_size"],
            seed=seed,
            start_iteration=iteration,
            workers=data["workers"],
            rank=comm.get_rank(),
            world=comm.get_world_size(),
        )

    return start


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch, numpy and Python. The data path has its own and reads none of them."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries may use it
    random.seed(seed)
