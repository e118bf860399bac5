"""RT-DETR's stages at scale smoke: backbone, training in two phases with averages, discrete fine-tuning, evaluation."""

import dataclasses

import pytest
import torch

from repro.engine import checkpoint, stage, train

from .conftest import Bench, record_of

PHASES = {
    "train.iterations": 6,
    "train.checkpoint_period": 2,
    "train.epochs": 6,  # of one step each, so that the last three are another phase
    "data.policies.released.late_epochs": 3,
    "data.policies.released.sizes": [64, 96],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, datasets_root):
    bench = Bench(tmp_path_factory.mktemp("rtdetr"), datasets_root)
    backbone = bench.run("encoder", recipe="rtdetr/backbone_r18vd.py", seed=0)
    trained = bench.run("train", [backbone], recipe="rtdetr/rtdetrv2_r18vd.py", settings=PHASES)
    tuned = bench.run("finetune", [trained], recipe="rtdetr/rtdetrv2_r18vd_discrete.py")
    bench.run("evaluate", [tuned], recipe="rtdetr/evaluate_coco_val2017.py")
    return bench, {"backbone": backbone, "trained": trained, "tuned": tuned}


def weights(work):
    return checkpoint.load(work.output / checkpoint.FINAL)["model"]


def test_offsets_stay_as_the_grid_training_left_them(made):
    before, after = weights(made[1]["trained"]), weights(made[1]["tuned"])
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name], after[name])}
    offsets = {name for name in before if ".sampling_offsets." in name}
    assert len(offsets) == 4 and offsets <= same
    assert not any(name.endswith("attention_weights.weight") for name in same)


class Killed(BaseException):
    """What no handler in the loop may catch."""


def test_an_interrupted_run_ends_as_if_it_had_not_been(made, monkeypatch):
    """With averages, batches of a drawn side, denoising that draws, and another phase after the interruption."""
    bench, works = made
    work = bench.work("train", [works["backbone"]], recipe="rtdetr/rtdetrv2_r18vd.py", settings=PHASES)
    parts = bench.elsewhere(work, "parts")
    step = train.Trainer.run_step

    def stop(self):
        if self.iter == 3:
            raise Killed
        step(self)

    monkeypatch.setattr(train.Trainer, "run_step", stop)
    with pytest.raises(Killed):
        stage.run(parts)
    monkeypatch.undo()
    assert checkpoint.latest(parts.output)["iteration"] == 2
    stage.run(parts)
    assert record_of(parts).checkpoint == record_of(works["trained"]).checkpoint
    assert record_of(parts).metrics == record_of(works["trained"]).metrics


def test_what_is_handed_on_is_the_average(made):
    bench, works = made
    settings = {**PHASES, "train.ema": None}
    work = bench.work("train", [works["backbone"]], recipe="rtdetr/rtdetrv2_r18vd.py", settings=settings)
    plain = bench.elsewhere(work, "plain")
    stage.run(plain)
    assert record_of(plain).metrics == record_of(works["trained"]).metrics  # trained alike
    name = "class_embed.1.weight"
    assert not torch.equal(weights(plain)[name], weights(works["trained"])[name])


def test_a_policy_that_is_not_there_stops_a_stage(made):
    bench, works = made
    work = bench.work("train", [works["backbone"]], recipe="rtdetr/rtdetrv2_r18vd.py", settings=PHASES)
    recipe = {**work.stage.recipe, "data": {**work.stage.recipe["data"], "policy": "papper"}}
    work = dataclasses.replace(work, stage=dataclasses.replace(work.stage, recipe=recipe, signature="0" * 12))
    with pytest.raises(Exception, match=r"no data\.policies\.papper.*paper"):
        stage.run(work)
