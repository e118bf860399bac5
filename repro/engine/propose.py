"""Region proposals for a data set: the kind ``propose``. No GPU, and no model; each process has ``propose.workers``."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from repro.data import propose
from repro.data.proposals import FILE
from repro.engine import inputs, parents, shared
from repro.engine.outcome import Outcome
from repro.harness.work import Work

EFFORT = ("workers", "shards")
"""Settings that say how the work is shared out, not what is found."""


def run(work: Work, found: Mapping[str, parents.Parent], device: torch.device) -> Outcome:
    """Find the boxes of every image."""
    settings = work.stage.recipe["propose"]
    # Before images are read, which may take minutes.
    method = propose.Method.of({key: value for key, value in settings.items() if key not in EFFORT})
    records = inputs.share(work)
    file = work.output / FILE
    fingerprint = work.stage.datasets.get(work.stage.recipe["data"]["dataset"], "")
    shared.run(work, records, file, propose.Search(method), fingerprint, settings.get("shards"), settings["workers"])
    return Outcome(iterations=len(records), artifacts={"proposals": file}, implementation={"proposals": engine(method)})


def engine(method: propose.Method) -> str:
    """What searched: the method, and its engine where it has several."""
    return "-".join(filter(None, (method.name, getattr(method.settings, "engine", ""))))
