"""`repro diff`, `why` and `report`, and the same in Python."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

import repro


@pytest.fixture
def measured(bench: Any) -> Any:
    bench.run()
    return bench


def accept(bench: Any, better: str) -> None:
    """Give the table accepted numbers at scale tiny."""
    path = bench.benchmarks / "toy" / "table1.yaml"
    path.write_text(f"{bench.text}accepted: {{tiny: {{plain: {{1%: 10.2 ± 0.1 (3)}}, better: {{1%: {better}}}}}}}\n")


def test_diff_as_a_table(measured: Any) -> None:
    done = measured.call("diff", "toy/table1", "--scale", "tiny", "--cluster", str(measured.cluster))
    assert done.code == 0, done.all
    for told in ("13.2 ± 0.1 (3)", "Δ +3.0", "cited", "not runnable yet", "no reference", "the claim holds"):
        assert told in done.out


@pytest.mark.parametrize(
    ("format", "told"), [("markdown", "| Better |"), ("csv", "toy/table1,better"), ("latex", r"\toprule")]
)
def test_diff_in_other_formats(measured: Any, format: str, told: str) -> None:
    assert told in measured.call("diff", "toy/table1", "--scale", "tiny", "--format", format).out


def test_diff_as_json(measured: Any) -> None:
    content = measured.call("diff", "toy/table1", "--scale", "tiny", "--json").json
    assert content["scale"] == "tiny" and content["exit_code"] == 0
    means = {(cell["row"], cell["column"]): cell["mean"] for cell in content["cells"]}
    assert means["better", "1%"] == pytest.approx(13.2)
    assert content["claims"][0]["verdict"] == "matches"


def test_diff_of_a_part(measured: Any) -> None:
    out = measured.call(
        "diff", "toy/table1", "--scale", "tiny", "--rows", "better", "--columns", "1*", "--seeds", "1-2", "-f", "csv"
    ).out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["kind"], row["row"], row["column"], row["n"]) for row in rows] == [
        ("cell", "better", "1%", "2"),
        ("cell", "better", "10%", "2"),
    ]


def test_exit_codes(bench: Any) -> None:
    part = ("diff", "toy/table1", "--scale", "tiny", "--cluster", str(bench.cluster))
    bench.run("--columns", "1%")
    assert bench.call(*part).code == 0
    assert bench.call(*part, "--strict").code == 3  # 10 % was not run
    accept(bench, "13.2 ± 0.1 (3)")
    assert bench.call(*part).code == 0
    accept(bench, "18.0 ± 0.1 (3)")
    assert bench.call(*part).code == 1  # worse, gate A
    assert bench.call("diff", "toy/tabel1").code == 2


def test_a_table_of_which_nothing_can_be_run_yet_shows_its_cells_unplanned(bench: Any) -> None:
    waiting = bench.text.replace("Better: {", "Better: {not_runnable: so does this one, ")
    bench.declare("toy/table2", waiting.replace("  Plain:\n", "  Plain:\n    not_runnable: its recipe is missing\n"))
    done = bench.call("diff", "toy/table2", "--scale", "tiny", "--cluster", str(bench.cluster))
    assert done.code == 0, done.all
    assert done.out.count("not runnable yet") >= 6
    assert "14.0 ± 0.5" in done.out


def test_a_failed_cell_of_gate_a_ends_with_1(bench: Any) -> None:
    bench.failing.add("evaluate")
    bench.run()
    done = bench.call("diff", "toy/table1", "--scale", "tiny", "--cluster", str(bench.cluster))
    assert done.code == 1
    assert "failed" in done.out


def test_diff_goes_by_the_disk_when_the_queue_does_not_answer(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from repro.errors import LaunchError

    def away(*arguments: object, **options: object) -> None:
        raise LaunchError("the controller does not answer")

    monkeypatch.setattr("repro.harness.launch.status", away)
    done = measured.call("diff", "toy/table1", "--scale", "tiny", "--cluster", str(measured.cluster))
    assert done.code == 0
    assert "the controller does not answer" in done.err


def test_why_lists_suspects(measured: Any) -> None:
    done = measured.call("why", "toy/table1/better/1%", "--scale", "tiny", "--cluster", str(measured.cluster))
    assert done.code == 0, done.all
    assert done.out.startswith("toy/table1/better/1%: no reference")
    assert "recipe: scale tiny changes 4 settings" in done.out  # that of each stage says its scale
    assert measured.call("why", "table1/better/1%", "--scale", "tiny", "--json").json["verdict"] == "no reference"


def test_report_writes_every_scale_that_has_results(measured: Any) -> None:
    measured.call("plan", "toy/table1", "--scale", "small")
    done = measured.call("report", "--json")
    assert [one["scale"] for one in done.json] == ["tiny"]
    assert "toy/table1 at scale small: planned, and nothing is measured yet" in done.err
    assert "| Better |" in (measured.results / "tables" / "toy-table1.tiny.md").read_text()
    measured.call("report", "toy/table1", "--scale", "small")
    assert (measured.results / "tables" / "toy-table1.small.csv").exists()


def test_report_leaves_stale_plans_out(measured: Any) -> None:
    path = measured.benchmarks / "toy" / "table1.yaml"
    path.write_text(path.read_text().replace("data.percent: 10}", "data.percent: 20}"))
    done = measured.call("report")
    assert done.code == 2
    assert "planned before the table changed" in done.err
    assert not (measured.results / "tables").exists()


def test_the_frame_in_python(measured: Any) -> None:
    frame = repro.diff("toy/table1", scale="tiny", rows=["better"], columns="1%", cluster=str(measured.cluster))
    assert list(frame["mean"].round(2)) == [13.2]
    assert list(frame["seeds"]) == [[1, 2, 3]]


def test_the_frame_from_another_results_folder(measured: Any) -> None:
    moved = measured.results.rename(measured.root / "moved")
    assert len(repro.diff("table1", "tiny", rows="plain", results=moved)) == 2
