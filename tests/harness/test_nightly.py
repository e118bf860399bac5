"""Nightly: bands, what counts as bad news, and accepting numbers without touching anything else in a table's file."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from repro.errors import DataError, TableError
from repro.harness import nightly as module
from repro.harness import table as table_module
from repro.harness.nightly import Nightly, Task, accept, load, nightly, workplace

TABLE = """\
# A comment at the top.
paper: {title: A toy, arxiv: "0000.00000", table: 1, as_of: 2024-01-01, runs: 5, source: invented}
metric: coco_box.AP
tolerance: 0.5   # AP points
seeds: [1, 2, 3]
stages:
  train: {config: toy/train.py}
  evaluate: {config: toy/evaluate.py}
columns:
  1%: {train: {data.percent: 1}}
  10%: {train: {data.percent: 10}}
rows:
  Ours:
    paper: {1%: 12.0 ± 0.3, 10%: 22.0 ± 0.3}   # as printed
"""
ACCEPTED = """\
accepted:
  # measured on two cores
  small: {ours: {1%: 9.00 ± 0.50 (3)}}
  tiny:
    ours:
      1%: 3.00 ± 0.20 (3)
      10%: 5.00 ± 0.20 (3)

# How the numbers came about.
accepted_reasons:
  - {scale: tiny, date: 2024-01-01, reason: first run}

# The end.
note: kept
"""
LISTED = Nightly(name="toy", tables=(Task(table="toy/table1", scale="tiny"),), floor=0.1)


def run(bench: Any, listed: Nightly = LISTED) -> module.Account:
    return nightly(listed, lambda task, listed, folder: (bench.table, bench.frame()), bench.root)


def words(account: module.Account) -> dict[str, str]:
    return {f"{one.row}/{one.column}": one.word for one in account.findings}


def test_all_is_well_inside_the_bands(bench: Any) -> None:
    bench.declare(TABLE + ACCEPTED, scale="tiny")
    bench.record("ours", "1%", [3.0, 3.1, 3.2])
    bench.record("ours", "10%", [4.9, 5.1, 5.0])
    account = run(bench)
    assert words(account) == {"ours/1%": "inside", "ours/10%": "inside"}
    assert account.exit_code == 0
    assert "all 2 cells are well" in account.text()


@pytest.mark.parametrize("mean", [3.5, 6.5])
def test_leaving_the_band_on_either_side_is_bad_news_and_comes_first(bench: Any, mean: float) -> None:
    bench.declare(TABLE + ACCEPTED, scale="tiny")
    bench.record("ours", "1%", [3.0, 3.1, 3.2])
    bench.record("ours", "10%", [mean, mean + 0.1, mean - 0.1])
    account = run(bench)
    assert words(account) == {"ours/1%": "inside", "ours/10%": "outside"}
    assert account.exit_code == 1
    assert account.text().startswith(f"outside  toy/table1/ours/10% (tiny): {mean:.2f} (3), ")
    assert "1 of 2 cells need a look" in account.text()


def test_the_floor_is_the_narrowest_band(bench: Any) -> None:
    bench.declare(TABLE + "accepted: {tiny: {ours: {1%: 3.00 ± 0.00 (3)}}}\n", scale="tiny")
    bench.record("ours", "1%", [3.2, 3.2, 3.2])
    bench.record("ours", "10%", [5.0, 5.0, 5.0])
    assert words(run(bench)) == {"ours/1%": "outside", "ours/10%": "new"}
    wide = LISTED.model_copy(update={"floor": 0.3})
    assert words(run(bench, wide))["ours/1%"] == "inside"
    assert run(bench, wide).exit_code == 0


def test_what_did_not_run_is_bad_news(bench: Any) -> None:
    bench.declare(TABLE + ACCEPTED, scale="tiny")
    bench.record("ours", "1%", {1: 3.0})
    account = run(bench)
    assert words(account) == {"ours/1%": "missing", "ours/10%": "missing"}
    assert account.exit_code == 1
    assert "1 of 3 seeds" in account.findings[0].text


def test_a_failed_stage_is_bad_news(bench: Any) -> None:
    bench.declare(TABLE + ACCEPTED, scale="tiny")
    states = {bench.plan.cells[0].stages[0]: SimpleNamespace(state="failed", reason="loss is nan")}
    account = nightly(LISTED, lambda task, listed, folder: (bench.table, bench.frame(states=states)), bench.root)
    assert account.findings[0].word == "failed"
    assert "loss is nan" in account.text()


def test_an_empty_plan_is_bad_news(bench: Any) -> None:
    bench.declare(TABLE, scale="tiny", rows=[])
    assert run(bench).exit_code == 1


def test_a_table_that_cannot_run_is_bad_news_and_does_not_stop_the_others(bench: Any) -> None:
    bench.declare(TABLE + ACCEPTED, scale="tiny")
    bench.record("ours", "1%", [3.0, 3.1, 3.2])
    bench.record("ours", "10%", [5.0, 5.1, 4.9])

    def runner(task: Task, listed: Nightly, folder: Path) -> Any:
        if task.table == "toy/table2":
            raise DataError("no images under /data")
        return bench.table, bench.frame()

    two = LISTED.model_copy(update={"tables": (Task(table="toy/table2", scale="tiny"), LISTED.tables[0])})
    account = nightly(two, runner, bench.root)
    assert [one.word for one in account.findings] == ["failed", "inside", "inside"]
    assert account.findings[0].text == "no images under /data"
    assert account.exit_code == 1


def test_no_table_is_started_once_the_time_is_spent(bench: Any) -> None:
    bench.declare(TABLE + ACCEPTED, scale="tiny")
    bench.record("ours", "1%", [3.0, 3.1, 3.2])
    bench.record("ours", "10%", [5.0, 5.1, 4.9])
    two = LISTED.model_copy(
        update={"tables": (LISTED.tables[0], Task(table="toy/table2", scale="tiny")), "minutes": 10}
    )
    times = iter([0.0, 0.0, 700.0, 700.0])
    account = nightly(two, lambda task, listed, folder: (bench.table, bench.frame()), bench.root, lambda: next(times))
    assert account.findings[-1].word == "missing"
    assert account.findings[-1].text == "not started: 12 of 10 minutes are spent"
    assert account.exit_code == 1


def test_a_list_is_loaded_and_its_faults_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "smoke.yaml").write_text(
        "tables: [{table: a/b, scale: tiny, rows: [x]}]\nfloor: 0.2\n", encoding="utf-8"
    )
    found = load("smoke", tmp_path)
    assert (found.name, found.floor, found.tables[0].rows) == ("smoke", 0.2, ("x",))
    (tmp_path / "bad.yaml").write_text("tables: [{table: a/b, scal: tiny}]\nflor: 1\n", encoding="utf-8")
    with pytest.raises(TableError) as caught:
        load("bad", tmp_path)
    assert "Did you mean scale?" in str(caught.value) and "Did you mean floor?" in str(caught.value)
    with pytest.raises(TableError, match="Did you mean smoke"):
        load("smok", tmp_path)


def test_the_lists_that_are_shipped_load() -> None:
    folder = Path(__file__).parents[2] / "benchmarks" / "nightly"
    assert {"smoke", "gpu"} <= set(module.names(folder))
    for name in module.names(folder):
        listed = load(name, folder)
        for task in listed.tables:
            table = table_module.load(task.table, folder.parent)
            cells = {row for row, _ in table.runnable_cells()}, {column for _, column in table.runnable_cells()}
            assert set(task.rows or ()) <= cells[0]
            assert set(task.columns or ()) <= cells[1]


def test_each_night_has_a_folder_of_its_own(tmp_path: Path) -> None:
    first = workplace("smoke", tmp_path, datetime(2024, 1, 2, 3, 4, 5))
    assert first == tmp_path / "nightly" / "smoke" / "2024-01-02T03-04-05"
    assert first != workplace("smoke", tmp_path, datetime(2024, 1, 2, 3, 4, 6))


@pytest.mark.parametrize("copied", [False, True], ids=["run in place", "run from a spool folder"])
def test_the_batch_script_finds_the_project_and_passes_the_list_on(tmp_path: Path, copied: bool) -> None:
    project, spool = tmp_path / "project", tmp_path / "spool" / "job1"
    script = (spool if copied else project / "slurm") / "nightly.sbatch"
    program = project / ".venv" / "bin" / "repro"
    for folder in (script.parent, program.parent):
        folder.mkdir(parents=True)
    (project / "pyproject.toml").touch()
    shutil.copy(Path(__file__).parents[2] / "slurm" / "nightly.sbatch", script)
    program.write_text('#!/bin/sh\necho "$PWD $*"; exit 1\n', encoding="utf-8")
    program.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "SLURM_SUBMIT_DIR": str(project if copied else tmp_path)}
    done = subprocess.run(["bash", str(script), "gpu"], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"{project} nightly gpu\n", 1)


DAY = date(2024, 5, 6)


def test_accepting_changes_one_scale_and_keeps_every_other_line(bench: Any) -> None:
    bench.declare(TABLE + ACCEPTED, scale="tiny").record("ours", "1%", [4.0, 4.1, 4.2])
    changes = accept(bench.path, "tiny", bench.frame(), "the encoder learns longer", DAY)
    assert changes == ["ours / 1%: 4.10 ± 0.10 (3), was 3.00 ± 0.20 (3)"]
    before, after = (TABLE + ACCEPTED).splitlines(), bench.path.read_text(encoding="utf-8").splitlines()
    assert [line for line in before if line not in after] == ["      1%: 3.00 ± 0.20 (3)"]
    assert "    reason: the encoder learns longer" in after
    again = table_module.load(str(bench.path), bench.root / "benchmarks")
    assert again.accepted["tiny"]["ours"]["1%"].text == "4.10 ± 0.10 (3)"
    assert again.accepted["tiny"]["ours"]["10%"].text == "5.00 ± 0.20 (3)"
    assert again.accepted["small"]["ours"]["1%"].runs == 3
    reasons = yaml.safe_load(bench.path.read_text(encoding="utf-8"))["accepted_reasons"]
    assert [str(one["reason"]) for one in reasons] == ["first run", "the encoder learns longer"]
    assert reasons[1]["date"] == "2024-05-06"


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "accepted: {}\n",
        "accepted: {small: {ours: {1%: 9.00 (1)}}}   # in one line\nnote: kept\n",
        "accepted:\n  small: {ours: {1%: 9.00 (1)}}\naccepted_reasons: []\nnote: kept\n",
        "note: without a final line break",
    ],
)
def test_accepting_works_whatever_the_blocks_look_like(bench: Any, ending: str) -> None:
    bench.declare(TABLE + ending, scale="tiny")
    bench.record("ours", "1%", [4.0, 4.1, 4.2])
    accept(bench.path, "tiny", bench.frame(), "first", DAY)
    bench.record("ours", "10%", [6.0, 6.1, 6.2])
    accept(bench.path, "tiny", bench.frame(), "second", DAY)
    text = bench.path.read_text(encoding="utf-8")
    assert text.startswith(TABLE)
    found = yaml.safe_load(text)
    assert found["accepted"]["tiny"] == {"ours": {"1%": "4.10 ± 0.10 (3)", "10%": "6.10 ± 0.10 (3)"}}
    assert [one["reason"] for one in found["accepted_reasons"]] == ["first", "second"]
    held = yaml.safe_load(TABLE + ending)
    assert found.get("note") == held.get("note")
    assert {**(held.get("accepted") or {}), "tiny": found["accepted"]["tiny"]} == found["accepted"]


def test_accepting_finds_a_row_by_its_label(bench: Any) -> None:
    bench.declare(TABLE + "accepted:\n  tiny:\n    Ours: {1%: 3.00 ± 0.20 (3)}\n", scale="tiny")
    bench.record("ours", "1%", [4.0, 4.1, 4.2])
    accept(bench.path, "tiny", bench.frame(), "longer", DAY)
    assert yaml.safe_load(bench.path.read_text(encoding="utf-8"))["accepted"]["tiny"] == {
        "Ours": {"1%": "4.10 ± 0.10 (3)"}
    }


def test_accepting_what_is_accepted_changes_nothing(bench: Any) -> None:
    bench.declare(TABLE, scale="tiny").record("ours", "1%", [4.0, 4.1, 4.2])
    accept(bench.path, "tiny", bench.frame(), "first", DAY)
    text = bench.path.read_text(encoding="utf-8")
    assert accept(bench.path, "tiny", bench.frame(), "again", DAY) == []
    assert bench.path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("scale", "reason", "message"),
    [("tiny", "  ", "a reason is needed"), ("small", "why not", "of scale tiny, not small")],
)
def test_accepting_needs_a_reason_and_the_right_scale(bench: Any, scale: str, reason: str, message: str) -> None:
    bench.declare(TABLE, scale="tiny").record("ours", "1%", [4.0, 4.1, 4.2])
    with pytest.raises(TableError, match=message):
        accept(bench.path, scale, bench.frame(), reason, DAY)
    assert bench.path.read_text(encoding="utf-8") == TABLE


def test_unfinished_cells_are_not_accepted(bench: Any) -> None:
    bench.declare(TABLE, scale="tiny")
    with pytest.raises(TableError, match="no cell has a result"):
        accept(bench.path, "tiny", bench.frame(), "why not", DAY)
    bench.record("ours", "1%", {1: 4.0})
    with pytest.raises(TableError, match="ours / 1% is unfinished: 1 of 3 seeds"):
        accept(bench.path, "tiny", bench.frame(), "why not", DAY)
