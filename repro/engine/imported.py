"""A detector that somebody published, in place of one that was trained here.

A recipe of a ``pretrain``, ``train`` or ``finetune`` stage that has a section ``published`` says where its weights are
and whose names they have; they are loaded strictly into the recipe's model. What evaluates or fine-tunes it cannot tell
it from one that was trained, but the records say so: where a published detector scores what its authors say, the
evaluation is right, and faults are in the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    final, folder, read = work.output / checkpoint.FINAL, work.output_root / "weights", {}
    if comm.is_main_process():
        model = build(recipe["model"])
        source = of_fold(recipe["published"], work.stage.seed)
        weights, read = published.weights(source, folder), published.fingerprint(source, folder)
        parents.load(model, weights, tuple(source["drop"]), f"the model from {source['url']}")
        checkpoint.save({"model": model.state_dict()}, final)
    comm.synchronize()
    return Outcome(checkpoint=final, origin="published", implementation=read)


def of_fold(source: Mapping[str, Any], fold: int) -> dict[str, Any]:
    """A recipe's section ``published`` for one fold.

    >>> of_fold({"url": "https://a.b/c", "file": "fold_{fold}.pth", "sha256": None}, 3)
    {'url': 'https://a.b/c', 'file': 'fold_3.pth', 'sha256': None}
    """
    return {
        key: value.replace("{fold}", str(fold)) if key in ("url", "file") and value else value
        for key, value in source.items()
    }
