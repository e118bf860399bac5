"""Few-shot training: what it starts from, and what it leaves alone."""

import torch

from repro.engine import checkpoint, detector, parents
from repro.engine.config import build


def weights(work):
    return checkpoint.load(work.output / checkpoint.FINAL)["model"]


def test_shots_start_from_the_base_classes_with_a_new_head(bench):
    base = bench.run("finetune", recipe="detreg/finetune_coco_base60.py")
    shots = bench.work("finetune", [base], recipe="detreg/finetune_coco_shots.py", seed=5)
    detector.seed_everything(5)
    model = build(shots.stage.recipe["model"])
    parents.initialise(model, shots.stage.recipe["init"], parents.of(shots))
    start, trained = model.state_dict(), weights(base)
    assert {name.split(".")[0] for name in trained if not torch.equal(start[name], trained[name])} == {"class_embed"}


def test_the_decoder_alone_is_trained(bench):
    base = bench.run("finetune", recipe="detreg/finetune_coco_base60.py")
    shots = bench.run("finetune", [base], recipe="detreg/finetune_coco_shots_decoder.py")
    before, after = weights(base), weights(shots)
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    trained = ("transformer.decoder.", "transformer.queries.", "class_embed.", "bbox_embed.")
    assert changed == {name for name in after if name.startswith(trained)}
