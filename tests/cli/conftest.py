"""A bench to run verbs on: a small table, recipes and an engine without meaning, and folders of their own."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from repro.errors import DataError, RecipeError, StageError, UnknownDataError
from repro.harness.plan import Resolved
from repro.harness.work import Work

TABLE = """
paper: {title: Toys, arxiv: "0000.00000", table: 1, runs: 3}
metric: coco_box.AP
tolerance: 1.0
seeds: [1, 2, 3]
gate: A
baseline: Plain
stages:
  encoder:  {config: toy/encoder.py, seeds: [0]}
  pretrain: {config: toy/pretrain.py, seeds: [0]}
  finetune: {config: toy/finetune.py}
  evaluate: {config: toy/evaluate.py}
columns:
  1%:  {finetune: {data.percent: 1}}
  10%: {finetune: {data.percent: 10}}
rows:
  Plain:
    skip: [pretrain]
    paper: {1%: 11.0 ± 0.5, 10%: 21.0 ± 0.5}
  Quoted: {cited: true, paper: {1%: 12.0, 10%: 22.0}}
  Later: {not_runnable: its recipe does not exist yet, paper: {1%: 13.0, 10%: 23.0}}
  Better: {paper: {1%: 14.0 ± 0.5, 10%: 24.0 ± 0.5}}
claims:
  - {id: helps, text: pretraining helps, expr: {row: Better, minus: Plain, column: 1%}, above: 0}
"""


class Result:
    """What a verb printed and how it ended."""

    def __init__(self, done: Any) -> None:
        self.out: str = done.stdout
        self.err: str = done.stderr
        self.code: int = done.exit_code
        self.all = f"{done.stdout}\n{done.stderr}"

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Bench:
    """Folders with one table, and the command line on top of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.benchmarks = root / "benchmarks"
        self.results = root / "results"
        self.output = root / "output"
        self.records = self.results / "records"
        self.cluster = root / "here.yaml"
        self.cluster.write_text(f"executor: debug\noutput_root: {self.output}\nallow_dirty: true\n")
        self.text = TABLE
        self.declare("toy/table1", TABLE)
        self.failing: set[str] = set()  # kinds of stage that fail
        self.scores = {"Plain": 10.0, "Better": 13.0}

    def declare(self, name: str, text: str = TABLE) -> Path:
        path = self.benchmarks / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def call(self, *arguments: str) -> Result:
        """Run a verb in this process; errors that are bugs are raised."""
        from repro.cli.app import app

        done = CliRunner().invoke(app, list(arguments))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Result(done)

    def run(self, *arguments: str) -> Result:
        """`repro run` of the table at scale tiny, in this process."""
        return self.call("run", "toy/table1", "--scale", "tiny", "--cluster", str(self.cluster), *arguments)

    def engine(self, work: Work) -> None:
        """Run a stage: leave a log and a file, and record a score that the row decides."""
        from repro.harness import record

        stage = work.stage
        work.output.mkdir(parents=True, exist_ok=True)
        (work.output / "log.txt").write_text(f"this is {stage.kind}\nlast line of {stage.kind}\n")
        if stage.kind in self.failing:
            raise StageError(f"{stage.kind} was told to fail")
        weights = work.output / "model_final.pth"
        weights.write_text(stage.signature)
        metrics = {}
        if stage.kind == "evaluate":
            base = self.scores["Better" if self._pretrained(work) else "Plain"]
            metrics = {"coco_box.AP": base + 0.1 * stage.seed, "coco_box.AP50": 2 * base}
        record.write(
            record.of(
                work,
                metrics=metrics,
                started=datetime.now(UTC),
                seconds=36.0,
                iterations=10,
                checkpoint=None if metrics else record.describe(weights, work.output),
            ),
            work.records,
        )

    def _pretrained(self, work: Work) -> bool:
        parent = json.loads((work.parent_output("finetune") / "stage.json").read_text())
        return "pretrain" in parent["parents"]


def resolve(config: str, overrides: Mapping[str, Any], scale: str) -> Resolved:
    """A recipe that says what was asked for. Names that hold ``missing`` have none."""
    if "missing" in config:
        raise RecipeError(f"There is no recipe {config}.")
    if "absent" in config:
        raise DataError("photographs are not found; looked for /nowhere")
    if "unknown" in config:
        raise UnknownDataError("there is no data set fotographs. Did you mean photographs?")
    recipe = {"config": config, "scale": scale, "train": {"iterations": 10}, "data": {"percent": 100}}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        recipe[section][name] = value  # type: ignore[index]
    return Resolved(recipe, {"shapes_tiny_val": "f00d"})


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    for variable, folder in (
        ("REPRO_BENCHMARKS", made.benchmarks),
        ("REPRO_RESULTS", made.results),
        ("REPRO_OUTPUT", made.output),
        ("DETECTRON2_DATASETS", tmp_path / "datasets"),
    ):
        monkeypatch.setenv(variable, str(folder))
    for variable in ("REPRO_PAPER", "REPRO_SCALE", "REPRO_CLUSTER", "REPRO_BCCD"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("repro.cli.plan_files.resolver", lambda: resolve)
    engine = types.ModuleType("toy_engine")
    engine.run = made.engine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_engine", engine)
    monkeypatch.setattr("repro.harness.launch.ENTRY", "toy_engine:run")
    return made
