"""Region proposals for a data set: the kind ``propose``. No GPU, and no model.

All processes of all its jobs share the work, on one node or on many, each with ``propose.workers`` workers; the first
one puts their shards together. They meet in the folder only, so that none waits at a barrier for hours, and a job may
start late, end early or be killed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from detectron2.utils import comm

from repro.data import propose
from repro.engine import hooks, inputs, parents
from repro.engine.outcome import Outcome
from repro.harness.work import Work

EFFORT = ("workers", "shards")
"""Settings that say how the work is shared out, not what is found."""


def run(work: Work, found: Mapping[str, parents.Parent], device: torch.device) -> Outcome:
    """Find the boxes of every image."""
    recipe = work.stage.recipe
    settings = {key: value for key, value in recipe["propose"].items() if key not in EFFORT}
    method = propose.Method.of(settings)  # before images are read, which may take minutes
    records = inputs.share(work)
    job, jobs = work.share
    progress = hooks.ProgressFile(work.output, "propose")
    file = propose.propose(
        records,
        work.output,
        settings,
        shards=recipe["propose"].get("shards"),
        workers=recipe["propose"]["workers"],
        process=(job * comm.get_world_size() + comm.get_rank(), jobs * comm.get_world_size()),
        fingerprint=work.stage.datasets.get(recipe["data"]["dataset"], ""),
        on_progress=progress.update,
    )
    while not (work.helps or file.is_file()):  # a task that ends early would have some queues end the others
        time.sleep(1.0)
    return Outcome(iterations=len(records), artifacts={"proposals": file}, implementation={"proposals": engine(method)})


def engine(method: propose.Method) -> str:
    """What searched: the method, and its engine where it has several."""
    return "-".join(filter(None, (method.name, getattr(method.settings, "engine", ""))))
