"""Region proposals for a data set: the kind ``propose``. No GPU, and no model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from detectron2.utils import comm

from repro.data import proposals
from repro.engine import hooks, inputs, parents
from repro.engine.outcome import Outcome
from repro.harness.work import Work


def run(work: Work, found: Mapping[str, parents.Parent], device: torch.device) -> Outcome:
    """Find the boxes of every image; the first process does it, with ``propose.workers`` processes of its own."""
    recipe = work.stage.recipe
    records = inputs.share(work)
    file = work.output / "proposals.npz"
    if comm.is_main_process():
        progress = hooks.ProgressFile(work.output, "propose")
        settings = {key: value for key, value in recipe["propose"].items() if key != "workers"}
        mark = work.stage.datasets.get(recipe["data"]["dataset"], "")
        proposals.propose(records, work.output, settings, recipe["propose"]["workers"], progress.update, mark)
    comm.synchronize()
    return Outcome(iterations=len(records), artifacts={"proposals": file})
