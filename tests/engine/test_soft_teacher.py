"""Training a student and its teacher: interrupted or not, the same weights of both."""

import gzip
import itertools
import json

import pytest
import torch
from detectron2.structures import Boxes, Instances
from fvcore.common.param_scheduler import ConstantParamScheduler

from repro.engine import checkpoint, evaluate, hooks, stage, train
from repro.engine.detector import seed_everything
from repro.engine.optimizer import sgd
from repro.layers.ema import Rising
from repro.meta_arch.semi.two_stage import TwoStage
from repro.meta_arch.soft_teacher import example
from repro.modeling.pseudo_boxes import ByVariance

from .conftest import Bench, record_of
from .test_distributed import run_with_two

SETTINGS = {"clip_norm": None, "amp": False, "ema": None, "checkpoint_period": 2, "log_period": 1}


def batch(iteration):
    """A labelled and an unlabelled image, a pure function of the iteration."""
    generator = torch.Generator().manual_seed(iteration)
    pixels = torch.randint(256, (3, 3, 64, 64), generator=generator, dtype=torch.uint8)
    objects = Instances((64, 64), gt_boxes=Boxes(torch.tensor([[8.0, 8, 40, 50]])), gt_classes=torch.tensor([1]))
    mirrored = torch.tensor([[-1.0, 0, 64], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    views = {
        "weak": {"image": pixels[1], "matrix": torch.eye(3, dtype=torch.float64)},
        "strong": {"image": pixels[2], "matrix": mirrored},
    }
    return [{"image": pixels[0], "instances": objects}, views]


def batches(start):
    return (batch(iteration) for iteration in itertools.count(start))


class Killed(BaseException):
    """What no handler in the loop may catch."""


def killed_at(last):
    def cut(start):
        for iteration, content in enumerate(batches(start), start):
            if iteration == last:
                raise Killed
            yield content

    return cut


def fit(output, stream=batches, iterations=5, watch=None):
    output.mkdir(exist_ok=True)
    seed_everything(0)
    model = example()
    model.method = TwoStage(0.2, 0.2, 0.2, ByVariance(0.5))
    model.momentum = Rising(0.6)
    if watch is not None:
        model.register_forward_pre_hook(lambda module, args: watch(module))
    schedule = ConstantParamScheduler(1.0)
    return train.fit(
        model,
        stream,
        sgd(model, 0.02, 0.9, 1e-4),
        schedule=schedule,
        iterations=iterations,
        settings=SETTINGS,
        output=output,
    )


@pytest.mark.parametrize("last", [1, 3])
def test_an_interrupted_run_ends_with_the_same_student_and_teacher(tmp_path, last):
    whole = fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path / "parts", killed_at(last))
    parts = fit(tmp_path / "parts")
    assert parts.losses == whole.losses
    assert all(torch.equal(value, whole.weights[name]) for name, value in parts.weights.items())
    assert any(not torch.equal(value, whole.weights[f"student{name.removeprefix('teacher')}"])
               for name, value in whole.weights.items() if name.startswith("teacher."))  # fmt: skip


def test_the_teacher_is_moved_before_each_step_by_what_the_last_one_left(tmp_path):
    seen = []

    def watch(model):
        seen.append(
            [model.get_parameter(f"{part}.backbone.fpn_output2.weight").clone() for part in ("student", "teacher")]
        )

    final = fit(tmp_path / "a", iterations=4, watch=watch)
    expected = seen[0][0]
    for step, (student, teacher) in enumerate(seen):
        momentum = min(0.6, 1 - 1 / (step + 1))
        expected = momentum * expected + (1 - momentum) * student
        torch.testing.assert_close(teacher, expected)
    assert not torch.equal(seen[1][0], seen[0][0])
    torch.testing.assert_close(final.weights["teacher.backbone.fpn_output2.weight"], expected)  # none after the last


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, datasets_root):
    return Bench(tmp_path_factory.mktemp("encoder"), datasets_root).run("encoder", recipe="common/encoder_msra_r50.py")


SURE = {  # what the teacher of a smoke run reaches
    "model.method.score_threshold": 0.1,
    "model.method.rpn_threshold": 0.1,
    "model.method.cls_threshold": 0.1,
    "model.method.regression.threshold": 1.0,
}


def training(bench, encoder, name):
    settings = {**SURE, "train.iterations": 4, "train.checkpoint_period": 1}
    own = Bench(encoder.output_root.parent, bench.datasets)
    work = own.work("train", [encoder], recipe="soft_teacher/soft_teacher_coco_percent.py", settings=settings)
    return own.elsewhere(work, name)


def test_a_stage_that_was_killed_ends_with_the_same_student_and_teacher(bench, encoder, monkeypatch):
    """Both iterators, the jitter's and the samplers' random numbers go on where they were."""
    whole, parts = training(bench, encoder, "whole"), training(bench, encoder, "parts")
    stage.run(whole)
    with monkeypatch.context() as patch:
        real = hooks.ModelStep.before_step

        def killed(self):
            if self.trainer.iter == 2:
                raise Killed
            real(self)

        patch.setattr(hooks.ModelStep, "before_step", killed)
        with pytest.raises(Killed):
            stage.run(parts)
    assert checkpoint.latest(parts.output)["iteration"] == 2
    stage.run(parts)
    assert record_of(parts).metrics == record_of(whole).metrics
    assert record_of(parts).checkpoint["sha256"] == record_of(whole).checkpoint["sha256"]
    assert record_of(whole).metrics["last.loss_cls_unsup"] > 0


def test_student_and_teacher_are_scored_at_two_thresholds_off_one_training(bench, encoder):
    own = Bench(encoder.output_root.parent, bench.datasets)
    settings = {**SURE, "train.iterations": 2}
    trained = own.run("train", [encoder], recipe="soft_teacher/soft_teacher_coco_percent.py", settings=settings, seed=2)
    threshold = "inference.detector.roi_heads.box_predictor.test_score_thresh"
    found = {}
    for part, least in itertools.product(("student", "teacher"), (0.001, 0.5)):
        recipe = "soft_teacher/evaluate_coco_val2017.py"
        settings = {"inference.inference_on": part, threshold: least}
        work = own.elsewhere(own.work("evaluate", [trained], recipe=recipe, settings=settings), f"{part}-{least}")
        stage.run(work)
        assert 0 <= record_of(work).metrics["coco_box.AP"] <= 100
        found[part, least] = json.loads(gzip.decompress((work.output / evaluate.DETECTIONS).read_bytes()))
    lowest = {case: min((entry["score"] for entry in entries), default=1.0) for case, entries in found.items()}
    assert all(lowest[part, 0.001] < 0.5 < lowest[part, 0.5] for part in ("student", "teacher"))
    assert found["student", 0.001] != found["teacher", 0.001]


def test_two_processes_train_one_student(bench, encoder):
    """Every process has images of both kinds after the burn-in, and only labelled losses before it."""
    own = Bench(encoder.output_root.parent, bench.datasets)
    settings = {**SURE, "train.iterations": 3, "data.total_batch_size": 8, "data.share_size": 4, "model.burn_in": 1}
    recipe = "soft_teacher/soft_teacher_coco_percent.py"
    work = own.elsewhere(own.work("train", [encoder], recipe=recipe, settings=settings), "two")
    run_with_two([work])
    record = record_of(work)
    assert record.hardware["processes"] == 2
    assert record.metrics["last.loss_cls_unsup"] > 0 and record.metrics["last.loss_cls"] > 0
    first, *rest = [json.loads(line) for line in (work.output / "metrics.json").read_text().splitlines()]
    assert "loss_cls_unsup" not in first and all("loss_cls_unsup" in line for line in rest)
