"""Verdicts: each word is reached, says why, and is right on simulated tables whose truth is known."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from repro.harness.diff import EMPTY, exit_code, table_line
from repro.harness.statistics import Sample, difference
from repro.harness.verdict import Verdict

TABLE = """
paper: {title: A toy, arxiv: "0000.00000", table: 1, as_of: 2024-01-01, runs: 5, source: invented}
metric: coco_box.AP
tolerance: 0.5
seeds: [1, 2, 3, 4, 5]
gate: A
baseline: Base
stages:
  train: {config: toy/train.py}
  evaluate: {config: toy/evaluate.py}
columns:
  1%: {train: {data.percent: 1}}
  10%: {train: {data.percent: 10}}
rows:
  Base:
    train: {model.name: base}
    paper: {1%: 10.0 ± 0.3, 10%: 20.0 ± 0.3}
  Ours:
    train: {model.name: ours}
    paper: {1%: 12.0 ± 0.3, 10%: 22.0 ± 0.3}
"""
NEAR = (-0.2, 0.1, 0.0, -0.1, 0.2)
"""Deviations of five seeds from their mean; standard deviation 0.158."""


def around(mean: float, n: int = 5) -> list[float]:
    return [mean + deviation for deviation in NEAR[:n]]


def state(word: str, reason: str = "") -> Any:
    return SimpleNamespace(state=word, reason=reason)


def test_frame_is_tidy(bench: Any) -> None:
    bench.declare(TABLE).record("ours", "1%", around(12))
    frame = bench.frame()
    assert list(frame.columns) == list(EMPTY)
    assert list(zip(frame["row"], frame["column"], strict=True)) == [
        ("base", "1%"), ("base", "10%"), ("ours", "1%"), ("ours", "10%"),
    ]  # fmt: skip
    cell = bench.cell("ours", "1%")
    assert (cell["printed"], cell["printed_value"], cell["printed_spread"], cell["printed_runs"]) == (
        "12.0 ± 0.3",
        12,
        0.3,
        5,
    )
    assert cell["mean"] == pytest.approx(12)
    assert cell["std"] == pytest.approx(np.std(around(12), ddof=1))
    assert (cell["n"], cell["seeds"], cell["origin"]) == (5, [1, 2, 3, 4, 5], "retrained")
    assert cell["values"] == pytest.approx(around(12))
    assert [f"{signature}.json" for signature in cell["signatures"]] == cell["records"]


@pytest.mark.parametrize(
    ("mean", "word"), [(12.0, "matches"), (14.0, "better"), (10.0, "worse"), (11.6, "undecided"), (12.1, "matches")]
)
def test_a_finished_cell_is_judged_by_its_interval(bench: Any, mean: float, word: str) -> None:
    bench.declare(TABLE).record("ours", "1%", around(mean))
    cell = bench.cell("ours", "1%")
    assert cell["verdict"] == word
    assert cell["difference"] == pytest.approx(mean - 12)
    assert cell["low"] < cell["difference"] < cell["high"]
    assert "(Welch, 5 runs against 5 in the paper)" in cell["reason"]


def test_the_other_direction_swaps_better_and_worse(bench: Any) -> None:
    bench.declare(TABLE + "higher_is_better: false\n")
    bench.record("ours", "1%", around(14))
    bench.record("base", "1%", around(8))
    bench.record("base", "10%", around(20))
    assert bench.cell("ours", "1%")["verdict"] == "worse"
    assert bench.cell("base", "1%")["verdict"] == "better"
    assert bench.cell("base", "10%")["verdict"] == "matches"


def test_undecided_says_how_many_seeds_and_hours_would_decide(bench: Any) -> None:
    bench.declare(TABLE, seeds=[1, 2, 3]).record("ours", "1%", [11.0, 11.4, 11.8], hardware={"gpus": 8})
    for cell in bench.plan.cells:
        if (cell.row, cell.column) == ("ours", "1%"):
            bench.write(cell.stages[0], seconds=3600 - 360.0, hardware={"gpus": 8})
    found = bench.cell("ours", "1%")
    assert found["verdict"] == "undecided"
    further = int(found["reason"].split("; ")[-1].split()[0])
    assert found["reason"].endswith(f"{further} more seeds like these would decide, about {8 * further} GPU-hours")
    decided = Sample(11.4, 0.4, 3 + further)
    assert difference(decided, Sample(12, 0.3, 5), half_unit=0.05).outcome(0.5) == "below"


def test_the_price_of_a_seed_leaves_shared_stages_out(bench: Any) -> None:
    """A pretraining of 100 hours serves all seeds; one more costs its own 2 hours of training and 0.1 of evaluation."""
    text = TABLE.replace("stages:\n", "stages:\n  pretrain: {config: toy/pretrain.py, seeds: [0]}\n")
    bench.declare(re.sub(r"\btrain: ", "finetune: ", text), seeds=[1, 2, 3])
    bench.record("ours", "1%", [11.0, 11.4, 11.8])
    hours = {"pretrain": 100.0, "finetune": 2.0}
    for signature, stage in bench.plan.stages.items():
        if stage.kind in hours:
            bench.write(signature, seconds=3600 * hours[stage.kind])
    reason = bench.cell("ours", "1%")["reason"]
    assert reason.endswith("2 more seeds like these would decide, about 4.2 hours on a CPU")


def test_a_spread_over_an_unknown_number_of_runs_is_not_weighed(bench: Any) -> None:
    bench.declare(TABLE.replace("runs: 5, ", "")).record("ours", "1%", around(12))
    assert "(prediction, 5 runs against 1 in the paper)" in bench.cell("ours", "1%")["reason"]


def test_the_authors_correction_is_the_reference_and_the_print_is_kept(bench: Any) -> None:
    bench.declare(TABLE.replace("22.0 ± 0.3}\n", "22.0 ± 0.3}\n    corrected: {1%: 14.0 ± 0.3}\n"))
    bench.record("ours", "1%", around(14))
    cell = bench.cell("ours", "1%")
    assert (cell["verdict"], cell["printed"], cell["corrected"]) == ("matches", "12.0 ± 0.3", "14.0 ± 0.3")
    assert cell["reference"] == "corrected: 14.0 ± 0.3"


def test_one_printed_number_is_met_by_the_spread_of_the_family(bench: Any) -> None:
    text = TABLE.replace(" ± 0.3", "").replace("runs: 5, ", "")
    bench.declare(text, seeds=[1, 2, 3])
    bench.record("ours", "1%", [12.0, 12.0, 12.0])  # alone, these three would leave an interval of no width
    for row, column, mean in (("ours", "10%", 22), ("base", "1%", 10), ("base", "10%", 20)):
        bench.record(row, column, [mean - 0.4, mean, mean + 0.4])
    cell = bench.cell("ours", "1%")
    pooled = math.sqrt((0 + 3 * 2 * 0.16) / 8)
    reach = 2.306 * pooled * math.sqrt(1 / 3 + 1) + 0.05
    assert "prediction" in cell["reason"]
    assert (cell["low"], cell["high"]) == pytest.approx((-reach, reach), rel=1e-3)


def test_one_seed_borrows_a_spread_or_stays_undecided(bench: Any) -> None:
    bench.declare(TABLE.replace(" ± 0.3", "").replace("runs: 5, ", ""), seeds=[1]).record("ours", "1%", [18.0])
    alone = bench.cell("ours", "1%")
    assert alone["verdict"] == "undecided"
    assert "spread" in alone["reason"]
    bench.declare(TABLE, seeds=[1])
    bench.record("ours", "10%", [25.0])
    assert bench.cell("ours", "10%")["verdict"] == "better"


def test_the_reference_at_another_scale_is_the_accepted_number(bench: Any) -> None:
    accepted = "accepted: {tiny: {ours: {1%: 3.00 ± 0.20 (5)}}}\n"
    bench.declare(TABLE + accepted, scale="tiny", seeds=[1, 2, 3, 4, 5])
    bench.record("ours", "1%", around(3))
    bench.record("ours", "10%", around(4))
    judged, other = bench.cell("ours", "1%"), bench.cell("ours", "10%")
    assert judged["verdict"] == "matches"
    assert judged["reference"] == "accepted: 3.00 ± 0.20 (5)"
    assert judged["printed"] == "12.0 ± 0.3"
    assert other["verdict"] == "no reference"
    assert math.isnan(other["difference"])
    assert other["printed_value"] == 22.0


def test_paper_scale_can_be_set_against_accepted_numbers(bench: Any) -> None:
    bench.declare(TABLE + "accepted: {paper: {ours: {1%: 15.00 ± 0.20 (5)}}}\n")
    bench.record("ours", "1%", around(15))
    assert bench.cell("ours", "1%")["verdict"] == "better"
    assert bench.cell("ours", "1%", against="accepted")["verdict"] == "matches"


NOT_RUN = """\
  Cited:
    cited: true
    paper: {1%: 11.0 ± 0.1}
  Later:
    not_runnable: its pretraining is not written
    paper: {1%: 11.0 ± 0.1}
"""


def test_words_for_cells_without_a_result(bench: Any) -> None:
    bench.declare(TABLE + NOT_RUN)
    bench.record("ours", "1%", {1: 12.0, 3: 12.1})
    failed = next(cell for cell in bench.plan.cells if (cell.row, cell.column, cell.seed) == ("base", "1%", 2))
    states = {failed.stages[0]: state("failed", "loss is nan"), failed.stages[1]: state("blocked", "its parent failed")}
    cells = {(c["row"], c["column"]): c for c in bench.frame(states=states).to_dict("records")}
    assert cells["cited", "1%"]["verdict"] == "cited"
    assert cells["later", "1%"]["verdict"] == "not runnable yet"
    assert cells["later", "1%"]["reason"] == "its pretraining is not written"
    assert cells["ours", "1%"]["verdict"] == "partial"
    assert "2 of 5 seeds" in cells["ours", "1%"]["reason"]
    assert math.isnan(cells["ours", "1%"]["difference"])
    assert cells["base", "1%"]["verdict"] == "failed"
    assert "seed 2: train" in cells["base", "1%"]["reason"] and "loss is nan" in cells["base", "1%"]["reason"]
    assert cells["base", "10%"]["verdict"] == "missing"
    assert ("cited", "10%") not in cells


def test_rows_of_our_own_have_no_reference_and_are_never_dropped(bench: Any) -> None:
    own = "  Own:\n    train: {model.name: own}\n  Later:\n    not_runnable: waits for its recipe\n"
    bench.declare(TABLE + own).record("own", "1%", around(5))
    found = bench.frame()
    words = {(c["row"], c["column"]): c["verdict"] for c in found.to_dict("records")}
    assert words["own", "1%"] == "no reference"
    assert words["own", "10%"] == "missing"
    assert words["later", "1%"] == words["later", "10%"] == "not runnable yet"


def test_cells_outside_the_plan_and_tables_without_one_are_missing(bench: Any) -> None:
    bench.declare(TABLE, rows=["ours"])
    assert bench.cell("base", "1%")["verdict"] == "missing"
    assert "not in the plan" in bench.cell("base", "1%")["reason"]
    bench.plan = None
    assert set(bench.frame()["verdict"]) == {"missing"}


def test_what_cannot_be_compared_is_shown_and_not_judged(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.declare(TABLE.replace("gate: A", "gate: void"))
    bench.record("ours", "1%", around(2))
    void = bench.cell("ours", "1%")
    assert (void["verdict"], void["mean"]) == ("not comparable", pytest.approx(2))
    assert exit_code(bench.frame()) == 0
    monkeypatch.setattr("repro.harness.table_file.metrics", lambda: ["coco_box", "latency"])
    bench.declare(TABLE.replace("coco_box.AP", "latency.fps"))
    for cell in bench.plan.cells:
        bench.write(cell.stages[-1], metrics={"fps": 30.0})
    assert set(bench.frame()["verdict"]) == {"not comparable"}


SPEED = """
metric: latency.fps
tolerance: 5
seeds: [0]
stages:
  train: {config: toy/train.py}
  evaluate: {config: toy/evaluate.py}
columns:
  fps: {label: FPS, machine: [T4, tensorrt]}
rows:
  S: {group: v1, train: {model.name: s}, paper: {fps: 200}}
  M: {group: v1, train: {model.name: m}, paper: {fps: 150}}
  S2: {group: v2, train: {model.name: s2}, paper: {fps: 210}}
"""
HERE, THERE = {"cpu": "Some CPU", "threads": 1}, {"gpu": "Tesla T4", "cpu": "Some CPU"}


@pytest.fixture
def timed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Records frames a second of the rows' models, on a machine, by a library."""
    monkeypatch.setattr("repro.harness.table_file.metrics", lambda: ["coco_box", "latency", "parameters"])
    bench.declare(SPEED)

    def record(row: str, fps: float, hardware: dict[str, Any], library: str) -> None:
        cell = next(one for one in bench.plan.cells if one.row == row)
        bench.write(
            cell.stages[-1], metrics={"latency.fps": fps}, hardware=hardware, implementation={"latency": library}
        )

    bench.time = record
    return bench


def test_a_latency_of_another_machine_is_compared_by_its_ratio_only(timed: Any) -> None:
    timed.time("s", 2.0, HERE, "onnxruntime fp32")
    timed.time("m", 1.0, HERE, "onnxruntime fp32")
    cell = timed.cell("m", "fps")
    assert cell["verdict"] == "not comparable"
    assert cell["reason"] == (
        "latency.fps depends on the machine: ours is of Some CPU, 1 thread, onnxruntime fp32; "
        "the print is of T4, tensorrt; 0.50 of S's, printed 0.75"
    )
    assert (cell["relative_to"], cell["relative"], cell["printed_relative"]) == ("S", 0.5, 0.75)
    assert math.isnan(timed.cell("s", "fps")["relative"])
    assert timed.cell("s2", "fps")["relative_to"] == ""  # of another group, and not measured


def test_ratios_are_of_one_machine(timed: Any) -> None:
    timed.time("s", 2.0, HERE, "onnxruntime fp32")
    timed.time("m", 1.0, HERE, "eager fp32")
    assert math.isnan(timed.cell("m", "fps")["relative"])


def test_a_latency_of_the_printed_machine_is_judged(timed: Any) -> None:
    timed.time("s", 200.0, THERE, "tensorrt fp16")
    timed.time("m", 150.0, THERE, "onnxruntime fp32")
    assert timed.cell("s", "fps")["verdict"] == "undecided"  # one run, of which nothing tells the spread
    assert timed.cell("s", "fps")["difference"] == pytest.approx(0)
    assert timed.cell("m", "fps")["verdict"] == "not comparable"


@pytest.mark.parametrize(("counted", "word"), [(20.18, "matches"), (36.6, "worse"), (10.0, "worse")])
def test_what_is_counted_is_judged_by_one_run(timed: Any, counted: float, word: str) -> None:
    timed.declare(SPEED.replace("latency.fps", "parameters.millions").replace("200", "20") + "higher_is_better: false")
    cell = next(one for one in timed.plan.cells if one.row == "s")
    timed.write(cell.stages[-1], metrics={"parameters.millions": counted})
    assert timed.cell("s", "fps")["verdict"] == ("better" if counted < 15 else word)


def test_an_undefined_metric_is_not_comparable(bench: Any) -> None:
    bench.declare(TABLE).record("ours", "1%", [math.nan] * 5)
    assert bench.cell("ours", "1%")["verdict"] == "not comparable"


def test_a_record_without_the_metric_is_a_failure_that_names_it(bench: Any) -> None:
    bench.declare(TABLE, seeds=[1])
    for cell in bench.plan.cells:
        bench.write(cell.stages[-1], metrics={"AP50": 30.0})
    cell = bench.cell("ours", "1%")
    assert cell["verdict"] == "failed"
    assert "no coco_box.AP, only AP50" in cell["reason"]


def test_our_own_record_is_believed_before_an_imported_one(bench: Any) -> None:
    bench.declare(TABLE, seeds=[1])
    bench.record("ours", "1%", [12.0])
    bench.record("ours", "1%", [50.0], origin="external")
    bench.record("base", "1%", [50.0], origin="external")
    assert bench.cell("ours", "1%")["values"] == [12.0]
    assert bench.cell("base", "1%")["origin"] == "external"


def test_difference_to_the_baseline_is_paired_over_seeds(bench: Any) -> None:
    """Seeds move both rows by 3 AP; the rows stay 2 apart."""
    bench.declare(TABLE)
    luck = [0.0, 3.0, -3.0, 1.0, -1.0]
    bench.record("base", "1%", [10 + one for one in luck])
    bench.record("ours", "1%", [12 + one + small for one, small in zip(luck, NEAR, strict=True)])
    cell = bench.cell("ours", "1%")
    assert cell["baseline"] == "Base"
    assert cell["baseline_difference"] == pytest.approx(2)
    assert cell["baseline_high"] - cell["baseline_low"] < 0.5
    assert math.isnan(bench.cell("base", "1%")["baseline_difference"])


CLAIM = """
claims:
  - {id: gain, text: pretraining helps, expr: {row: Ours, minus: Base, column: 1%}, above: 0, source: Sec. 4, gate: B}
"""


@pytest.mark.parametrize(("gain", "word"), [(2.0, "matches"), (-2.0, "worse"), (0.0, "undecided")])
def test_claims_are_judged_at_every_scale(bench: Any, gain: float, word: str) -> None:
    bench.declare(TABLE + CLAIM, scale="tiny")
    bench.record("base", "1%", [3.0, 3.3, 2.7])
    bench.record("ours", "1%", [3.1 + gain, 3.2 + gain, 2.7 + gain])
    claim = bench.cell("gain", "1%")
    assert (claim["kind"], claim["verdict"], claim["gate"]) == ("claim", word, "B")
    assert claim["difference"] == pytest.approx(gain)
    assert claim["printed"] == "+2.00"
    assert exit_code(bench.frame()) == 0


def test_a_void_claim_shows_its_difference_and_is_not_judged(bench: Any) -> None:
    bench.declare(TABLE + CLAIM.replace("gate: B", "gate: void"), scale="tiny")
    bench.record("base", "1%", [3.0, 3.3, 2.7])
    bench.record("ours", "1%", [6.1, 6.2, 5.7])
    claim = bench.cell("gain", "1%")
    assert (claim["verdict"], claim["gate"]) == ("not comparable", "void")
    assert claim["mean"] == pytest.approx(3)
    assert "+3.00" in claim["reason"]


def test_a_claim_with_an_unfinished_row_is_not_judged(bench: Any) -> None:
    bench.declare(TABLE + CLAIM, scale="tiny")
    bench.record("base", "1%", [3.0, 3.3, 2.7])
    assert bench.cell("gain", "1%")["verdict"] == "missing"


def test_what_can_never_be_run_says_all_that_is_missing(bench: Any) -> None:
    text = TABLE.replace("10%: {train", "10%: {not_runnable: no such data, train") + NOT_RUN + "claims:\n"
    text = text.replace("not written\n    paper: {", "not written\n    paper: {10%: 21.0 ± 0.1, ")
    for name, row in (("waits", "Later"), ("quotes", "Cited")):
        text += f"  - {{id: {name}, text: ours is better, expr: {{row: Ours, minus: {row}, column: 1%}}, above: 0}}\n"
    bench.declare(text)
    reasons = {name: bench.cell(name, "1%")["reason"] for name in ("waits", "quotes")}
    assert reasons == {"waits": "its pretraining is not written", "quotes": "quoted by the paper, not run here"}
    assert [bench.cell(name, "1%")["verdict"] for name in reasons] == ["not runnable yet", "cited"]
    assert bench.cell("later", "10%")["reason"] == "its pretraining is not written; no such data"


def test_exit_codes(bench: Any) -> None:
    bench.declare(TABLE)
    assert (exit_code(bench.frame()), exit_code(bench.frame(), strict=True)) == (0, 3)
    for row, column, mean in (("ours", "1%", 12), ("ours", "10%", 22), ("base", "1%", 10), ("base", "10%", 20)):
        bench.record(row, column, around(mean))
    assert (exit_code(bench.frame()), exit_code(bench.frame(), strict=True)) == (0, 0)


@pytest.mark.parametrize(("gate", "code"), [("A", 1), ("B", 0), ("C", 0), ("void", 0)])
def test_only_gate_a_ends_non_zero(bench: Any, gate: str, code: int) -> None:
    bench.declare(TABLE.replace("gate: A", f"gate: {gate}")).record("ours", "1%", around(8))
    assert exit_code(bench.frame()) == code


def test_a_failed_stage_of_gate_a_ends_with_one(bench: Any) -> None:
    bench.declare(TABLE)
    states = {bench.plan.cells[0].stages[0]: state("failed", "out of memory")}
    assert exit_code(bench.frame(states=states)) == 1
    assert exit_code(bench.frame(states=states), strict=True) == 1


def test_the_table_line_corrects_for_the_number_of_cells(bench: Any) -> None:
    bench.declare(TABLE)
    bench.record("ours", "1%", around(8))
    bench.record("ours", "10%", around(22))
    line = table_line(bench.frame())
    assert line == (
        "4 cells: 1 matches, 1 worse, 2 missing. Corrected for 2 judged cells (Holm), 1 difference remains (ours/1%)."
    )


def test_dirty_trees_are_marked(bench: Any) -> None:
    bench.declare(TABLE).record("ours", "1%", around(12), code={"commit": "abc", "dirty": True})
    assert bench.cell("ours", "1%")["marks"] == ["ran from a tree with uncommitted changes"]


def simulated(bench: Any, cells: int, true: float, rng: np.random.Generator) -> list[str]:
    """Verdicts on a table whose every cell has the same true difference to its paper, over three seeds."""
    head, _ = TABLE.split("columns:")
    printed = [rng.normal(20, 0.3, 5) for _ in range(cells)]
    rows = "\n".join(
        f"  r{i}:\n    train: {{model.name: r{i}}}\n    paper: {{1%: {runs.mean():.2f} ± {runs.std(ddof=1):.2f}}}"
        for i, runs in enumerate(printed)
    )
    text = head.replace("baseline: Base\n", "") + f"columns:\n  1%: {{train: {{data.percent: 1}}}}\nrows:\n{rows}\n"
    bench.declare(text, seeds=[1, 2, 3])
    for i in range(cells):
        bench.record(f"r{i}", "1%", rng.normal(20 + true, 0.3, 3))
    return list(bench.frame()["verdict"])


def test_a_simulated_table_that_is_reproduced_is_seldom_called_worse(bench: Any) -> None:
    verdicts = simulated(bench, 500, 0.0, np.random.default_rng(0))
    assert verdicts.count("worse") / 500 <= 0.05
    assert verdicts.count("better") / 500 <= 0.05
    assert verdicts.count("matches") / 500 >= 0.2
    assert set(verdicts) <= {"worse", "better", "matches", "undecided"}


@pytest.mark.parametrize(("true", "word"), [(-2.0, "worse"), (2.0, "better")])
def test_a_simulated_table_that_misses_by_two_points_is_found_out(bench: Any, true: float, word: str) -> None:
    verdicts = simulated(bench, 100, true, np.random.default_rng(1))
    assert verdicts.count(word) / 100 >= 0.9
    assert "matches" not in verdicts


def test_the_list_of_verdicts_is_closed() -> None:
    assert {word.value for word in Verdict} == {
        "matches", "better", "worse", "undecided", "no reference", "not comparable",
        "partial", "missing", "failed", "cited", "not runnable yet",
    }  # fmt: skip
