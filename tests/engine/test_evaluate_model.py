"""Size and speed as stages: of a model that was only built, and of one that was trained."""

import json

import pytest

from repro.engine import build_model
from repro.evaluation import latency

from .conftest import record_of

LATENCY, PARAMETERS = "rtdetr/evaluate_latency.py", "rtdetr/evaluate_parameters.py"


@pytest.fixture
def built(bench):
    return bench.run("build", recipe="rtdetr/rtdetrv2_r18vd.py", seed=0)


def test_a_model_that_is_built_leaves_the_list_of_its_parameters(built):
    shapes = json.loads((built.output / build_model.FILE).read_text())
    found = record_of(built)
    assert found.metrics["parameters"] == sum(_size(shape) for shape in shapes.values())
    assert found.checkpoint is None and set(found.artifacts) == {"parameters"}


def _size(shape):
    size = 1
    for side in shape:
        size *= side
    return size


def test_its_size_and_speed_are_measured_without_any_data(bench, built):
    sized = record_of(bench.run("evaluate", [built], recipe=PARAMETERS))
    assert sized.metrics["parameters.millions"] == record_of(built).metrics["parameters"] / 1e6
    timed = record_of(bench.run("evaluate", [built], recipe=LATENCY))
    assert timed.datasets == {}
    assert timed.metrics["latency.fps"] == pytest.approx(1000 / timed.metrics["latency.median"])
    assert timed.implementation["latency"] == "eager fp32"
    assert timed.hardware["threads"] == timed.recipe["run"]["threads"] == 1


def test_a_trained_model_is_measured_with_its_weights(bench, monkeypatch):
    backbone = bench.run("encoder", recipe="rtdetr/backbone_r18vd.py", seed=0)
    trained = bench.run("train", [backbone], recipe="rtdetr/rtdetrv2_r18vd.py")
    measured = []
    known = latency.Evaluator.measure
    monkeypatch.setattr(
        latency.Evaluator, "measure", lambda self, *args: measured.append(args[0]) or known(self, *args)
    )
    bench.run("evaluate", [trained], recipe=LATENCY)
    own = build_model.build(trained.stage.recipe["model"]).state_dict()
    bias = "transformer.queries.enc_score_head.bias"
    assert not measured[0].state_dict()[bias].equal(own[bias])
