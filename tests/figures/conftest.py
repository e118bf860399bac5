"""Figures of every kind with stages that are done: detectors have random weights, proposals are real."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from repro import figures
from repro.data import splits
from repro.engine import checkpoint, config, inputs, stage
from repro.harness import plan as planning
from repro.harness import record, table
from repro.harness.plan import Stage
from repro.harness.work import Work

HEAD = """\
# A figure to test with.
title: A figure
paper: {{title: Toys, arxiv: "0000.00000", figure: {number}, source: ours}}
seeds: [1, 2]
scales: {{smoke: {{seeds: {seeds}}}}}
draw: {draw}
"""
PROPOSE = "  propose: {config: detreg/propose_coco.py, seeds: [0]}\n"
PRETRAIN = """\
  encoder: {config: common/encoder_swav.py, seeds: [0]}
  propose: {config: detreg/propose_coco.py, seeds: [0]}
  pretrain: {config: detreg/pretrain_coco.py, seeds: [0]}
"""
FINETUNE = "  finetune: {config: detreg/finetune_coco_percent.py, data.percent: 100}\n"
EVALUATE = "  evaluate: {config: common/evaluate_coco_val2017.py}\n"
TRAIN = """\
  encoder: {config: common/encoder_msra_r50.py, seeds: [0]}
  train: {config: soft_teacher/soft_teacher_coco_percent.py}
  evaluate: {config: soft_teacher/evaluate_coco_val2017.py}
"""
ONE = "columns: {all: {}}\nrows: {Ours: {}}\n"
TWO = "columns: {all: {}}\nrows:\n  Plain: {skip: [propose, pretrain]}\n  Ours: {skip: [finetune]}\n"
SHARES = "columns: {'25': {finetune: {data.percent: 25}}, '50': {finetune: {data.percent: 50}}}\n"
GAIN = SHARES + "rows: {Plain: {skip: [propose, pretrain]}, Ours: {}}\nbaseline: Plain\nmetric: coco_box.AP\n"


class Lab:
    """Folders of their own, and figures in them whose stages are done."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.benchmarks, self.results, self.output = root / "benchmarks", root / "results", root / "output"
        self.records = self.results / "records"

    def declare(self, number: int, draw: str, body: str, seeds: Iterable[int] = (1,)) -> str:
        """Write a figure's file and return its name."""
        path = self.benchmarks / "toy" / f"figure{number}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD.format(number=number, draw=draw, seeds=list(seeds)) + body, encoding="utf-8")
        return f"toy/figure{number}"

    def sources(self, name: str) -> list[figures.Source]:
        """What a figure is drawn from."""
        declared = table.load(name, self.benchmarks)
        plan = planning.plan(declared, config.resolve, "smoke")
        return list(figures.sources(declared, plan, self.output, self.records, "cpu"))

    def drawing(self, name: str) -> Any:
        return figures.load(table.load(name, self.benchmarks))

    def finish(self, name: str, scores: Iterable[float] = ()) -> None:
        """Do what a figure's stages would have done; evaluations get the scores, in the order of the plan."""
        left = iter(scores)
        plan = planning.plan(table.load(name, self.benchmarks), config.resolve, "smoke")
        for one in plan.stages.values():
            if record.exists(one.signature, self.records):
                continue
            work = Work(stage=one, output_root=self.output, records=self.records)
            if one.kind == "propose":
                stage.run(work)
            elif one.kind == "evaluate":
                self.note(one, {"AP": next(left, 0.0)})
            else:
                self.note(one, {}, work.output)

    def note(self, one: Stage, metrics: dict[str, float], output: Path | None = None) -> None:
        """Record a stage, and with ``output`` weights as the seed makes them."""
        weights = None
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            torch.manual_seed(one.seed)
            model = config.build(one.recipe["model"])
            for layer in getattr(getattr(model, "detector", model), "bbox_embed", ()):
                torch.nn.init.normal_(layer.layers[-1].weight, std=0.3)  # else all boxes are what they start as
            if hasattr(model, "teacher"):
                torch.nn.init.normal_(model.teacher.roi_heads.box_predictor.cls_score.weight, std=0.5)  # it is sure
            weights = checkpoint.save({"model": model.state_dict()}, output / checkpoint.FINAL)
            (output / "stage.json").write_text(json.dumps({"kind": one.kind, "recipe": one.recipe}))
            splits.save(output / inputs.FILES["images"], [1, 2, 3, 4])
        work = Work(
            stage=one, output_root=self.output, records=self.records, code={"commit": "abcdef012", "dirty": False}
        )
        described = None if weights is None else record.describe(weights, weights.parent)
        done = record.of(work, metrics=metrics, started=datetime.now(UTC), seconds=1.0, checkpoint=described)
        record.write(done, self.records)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Every kind of figure, ready to be drawn."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("figures")
        patch.setenv("DETECTRON2_DATASETS", str(root / "datasets"))
        made = Lab(root)
        made.declare(
            3,
            "{kind: gain, x: labelled images, printed: {ours: {'25': 4.1}}}",
            "stages:\n" + PRETRAIN + FINETUNE.replace(", data.percent: 100", "") + EVALUATE + GAIN,
            (1, 2),
        )
        made.declare(4, "{kind: saliency, images: 1}", "stages:\n" + PRETRAIN + EVALUATE + ONE)
        made.declare(5, "{kind: proposals_at_k, chosen: 30, ks: [1, 10, 30, 100]}", "stages:\n" + PROPOSE + ONE)
        made.declare(6, "{kind: slots, slots: 5}", "stages:\n" + PRETRAIN + FINETUNE + EVALUATE + TWO)
        made.declare(7, "{kind: boxes, k: 30, images: 3}", "stages:\n" + PROPOSE + ONE)
        made.declare(8, "{kind: boxes, k: objects, images: 2, truth: true}", "stages:\n" + PRETRAIN + EVALUATE + ONE)
        made.declare(12, "{kind: pseudo_boxes, chosen: 0.9}", "stages:\n" + TRAIN + ONE)
        for number in (*range(3, 9), 12):
            made.finish(f"toy/figure{number}", [10.0, 11.0, 20.0, 21.0, 12.0, 13.5, 20.0, 21.0])
        return made


@pytest.fixture(autouse=True)
def _folders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "lab" in request.fixturenames:
        made: Lab = request.getfixturevalue("lab")
        monkeypatch.setenv("REPRO_BENCHMARKS", str(made.benchmarks))
        monkeypatch.setenv("REPRO_RESULTS", str(made.results))
        monkeypatch.setenv("REPRO_OUTPUT", str(made.output))
        monkeypatch.setenv("DETECTRON2_DATASETS", str(made.root / "datasets"))
