"""A detector that somebody published, in place of one that was trained here.

A recipe of a ``pretrain``, ``train`` or ``finetune`` stage that has a section ``published`` says where its weights are
and whose names they have; they are loaded strictly into the recipe's model. What evaluates or fine-tunes it cannot tell
it from one that was trained, but the records say so: where a published detector scores what its authors say, the
evaluation is right, and faults are in the training.
"""

from __future__ import annotations

from detectron2.utils import comm

from repro.engine import checkpoint, parents, published
from repro.engine.config import build
from repro.engine.outcome import Outcome
from repro.harness.work import Work


def run(work: Work) -> Outcome:
    """Import the recipe's detector.

    Raises:
        StageError: its weights cannot be had, or do not fit its model.
    """
    recipe = work.stage.recipe
    final = work.output / checkpoint.FINAL
    if comm.is_main_process():
        model = build(recipe["model"])
        weights = published.weights(recipe["published"], work.output_root / "weights")
        parents.load(model, weights, tuple(recipe["published"]["drop"]), f"the model from {recipe['published']['url']}")
        checkpoint.save({"model": model.state_dict()}, final)
    comm.synchronize()
    return Outcome(checkpoint=final, origin="published")
