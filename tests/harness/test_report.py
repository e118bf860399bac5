"""Reports: small tables compared character by character, and the promises of each format."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from repro.harness import latex, report

TABLE = """
paper: {title: A toy & more, arxiv: "0000.00000", table: 1, as_of: 2024-01-01, runs: 5, source: invented}
metric: coco_box.AP
tolerance: 0.5
seeds: [1, 2, 3]
gate: A
baseline: Base
stages:
  train: {config: toy/train.py}
  evaluate: {config: toy/evaluate.py}
columns:
  1%: {group: COCO, train: {data.percent: 1}}
  10%: {group: COCO, train: {data.percent: 10}}
rows:
  Base:
    train: {model.name: base}
    paper: {1%: 10.00 ± 0.30, 10%: 20.00 ± 0.30}
  Cited:
    cited: true
    paper: {10%: 21.00 ± 0.30}
  Ours_:
    train: {model.name: ours}
    paper: {1%: 12.00 ± 0.30, 10%: 22.00 ± 0.30}
claims:
  - {id: gain, text: pretraining helps, expr: {row: Ours_, minus: Base, column: 1%}, above: 0, source: Sec. 4}
"""


@pytest.fixture
def measured(bench: Any) -> Any:
    """Two judged cells, one missing, one partial."""
    bench.declare(TABLE)
    bench.record("base", "1%", [9.9, 10.0, 10.1])
    bench.record("ours_", "1%", [9.0, 9.2, 9.1])
    bench.record("ours_", "10%", {1: 22.0})
    return bench


def names(bench: Any, row: str, column: str) -> list[str]:
    return list(bench.cell(row, column)["records"])


def test_markdown_line_by_line(measured: Any) -> None:
    text = report.render(measured.frame(), measured.table, "markdown")
    base = " ".join(f"[{n}](../records/{name})" for n, name in enumerate(names(measured, "base", "1%"), 1))
    ours = " ".join(f"[{n}](../records/{name})" for n, name in enumerate(names(measured, "ours_", "1%"), 1))
    part = " ".join(f"[{n}](../records/{name})" for n, name in enumerate(names(measured, "ours_", "10%"), 1))
    assert text.splitlines()[:10] == [
        "# toy/table1 at scale paper: A toy & more",
        "",
        "|  | COCO 1% | COCO 10% |",
        "| --- | ---: | ---: |",
        f"| Base | 10.00 ± 0.30<br>**10.00 ± 0.10 (3)**<br>matches {base} | 20.00 ± 0.30<br>missing |",
        "| Cited | – | 21.00 ± 0.30<br>cited |",
        f"| Ours_ | 12.00 ± 0.30<br>**9.10 ± 0.10 (3)**<br>Δ −0.90<br>worse {ours} | "
        f"22.00 ± 0.30<br>**22.00 (1)**<br>partial {part} |",
        "",
        "5 cells: 1 matches, 1 worse, 1 partial, 1 missing, 1 cited. "
        "Corrected for 2 judged cells (Holm), 1 difference remains (ours_/1%).",
        "",
    ]
    assert "- pretraining helps: **worse**. The claim is contradicted: Ours_ − Base at 1% is −0.90" in text
    assert "- Ours_, 1%: **worse**. Difference −2.90; 95 % interval" in text
    assert "worse: the 95 % interval excludes zero and leaves the tolerance, on the bad side" in text
    assert "undecided:" not in text


def test_columns_keep_the_tables_order_where_the_first_row_has_gaps(bench: Any) -> None:
    bench.declare(TABLE.replace("1%: 10.00 ± 0.30, 10%: 20.00", "10%: 20.00"))
    text = report.render(bench.frame(), bench.table, "markdown")
    assert text.splitlines()[2] == "|  | COCO 1% | COCO 10% |"


def test_terminal_table_character_by_character(measured: Any) -> None:
    text = report.render(measured.frame(), measured.table, "table", width=60)
    assert text.splitlines()[:18] == [
        "toy/table1 at scale paper: A toy & more",
        "┏━━━━━━━┳━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┓",
        "┃       ┃             COCO ┃         COCO ┃",
        "┃       ┃               1% ┃          10% ┃",
        "┡━━━━━━━╇━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━┩",
        "│ Base  │     10.00 ± 0.30 │ 20.00 ± 0.30 │",
        "│       │ 10.00 ± 0.10 (3) │      missing │",
        "│       │          matches │              │",
        "├───────┼──────────────────┼──────────────┤",
        "│ Cited │                – │ 21.00 ± 0.30 │",
        "│       │                  │        cited │",
        "├───────┼──────────────────┼──────────────┤",
        "│ Ours_ │     12.00 ± 0.30 │ 22.00 ± 0.30 │",
        "│       │  9.10 ± 0.10 (3) │    22.00 (1) │",
        "│       │          Δ −0.90 │      partial │",
        "│       │            worse │              │",
        "└───────┴──────────────────┴──────────────┘",
        "Claims",
    ]


@pytest.mark.parametrize("width", [30, 40, 60, 200])
def test_a_terminal_table_keeps_to_its_width_and_loses_no_column(measured: Any, width: int) -> None:
    text = report.render(measured.frame(), measured.table, "table", width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "12.00 ± 0.30" in text and "22.00 ± 0.30" in text
    assert text.count("┏") == (2 if width <= 40 else 1)


def test_csv_is_the_tidy_frame(measured: Any) -> None:
    frame = measured.frame()
    rows = list(csv.DictReader(io.StringIO(report.render(frame, measured.table, "csv"))))
    assert list(rows[0]) == list(frame.columns)
    assert [(row["row"], row["column"], row["verdict"]) for row in rows] == [
        ("base", "1%", "matches"),
        ("base", "10%", "missing"),
        ("cited", "10%", "cited"),
        ("ours_", "1%", "worse"),
        ("ours_", "10%", "partial"),
        ("gain", "1%", "worse"),
    ]
    assert (rows[0]["values"], rows[0]["seeds"], rows[0]["printed"]) == ("9.9 10 10.1", "1 2 3", "10.00 ± 0.30")
    assert rows[0]["records"].split() == names(measured, "base", "1%")
    assert rows[1]["mean"] == ""


def test_json_holds_everything_and_no_nan(measured: Any) -> None:
    found = json.loads(report.render(measured.frame(), measured.table, "json"), parse_constant=pytest.fail)
    assert (found["table"], found["scale"], found["exit_code"]) == ("toy/table1", "paper", 1)
    assert [cell["verdict"] for cell in found["cells"]] == ["matches", "missing", "cited", "worse", "partial"]
    assert found["cells"][1]["mean"] is None
    assert found["claims"][0]["row"] == "gain"


def test_latex_is_balanced_and_escaped(measured: Any) -> None:
    text = report.render(measured.frame(), measured.table, "latex")
    assert r"\begin{tabular}{lcc}" in text
    assert r"\caption{toy/table1 at scale paper: A toy \& more}" in text
    assert r" & \multicolumn{2}{c}{COCO} \\" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert r" & 1\% & 10\% \\" in text
    assert r"Ours\_ & 12.00 $\pm$ 0.30 & 22.00 $\pm$ 0.30 \\" in text
    assert r"\quad\small ours & \small 9.10 $\pm$ 0.10 (3) & \small 22.00 (1) \\" in text
    assert [text.count(word) for word in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {2}
    assert all(ord(character) < 128 for character in text)


def test_latex_escapes_every_special_character() -> None:
    assert latex.escape("50% & a_b #1 {x} $ ~ ^ \\ ±") == (
        r"50\% \& a\_b \#1 \{x\} \$ \textasciitilde{} \textasciicircum{} \textbackslash{} $\pm$"
    )


def test_a_small_scale_says_that_print_is_not_the_measure(bench: Any) -> None:
    bench.declare(TABLE, scale="tiny")
    text = report.render(bench.frame(), bench.table, "markdown")
    assert "Ours ran at scale tiny: the printed numbers are shown, and nothing is judged by them." in text


def test_marks_and_corrections_are_shown(bench: Any) -> None:
    bench.declare(
        TABLE.replace(
            "    train: {model.name: ours}\n", "    train: {model.name: ours}\n    corrected: {1%: '11.50'}\n"
        )
    )
    bench.record("ours_", "1%", [11.5, 11.6, 11.4], code={"commit": "a", "dirty": True})
    text = report.render(bench.frame(), bench.table, "markdown")
    assert "12.00 ± 0.30 → 11.50<br>**11.50 ± 0.10 (3)†**" in text
    assert "†: ran from a tree with uncommitted changes." in text


def test_written_files_link_to_records_beside_them(measured: Any, tmp_path: Any) -> None:
    paths = report.write(measured.frame(), measured.table, tmp_path / "tables")
    assert [path.name for path in paths] == ["toy-table1.paper.md", "toy-table1.paper.csv"]
    target = paths[0].parent / report.RECORDS_LINK / names(measured, "base", "1%")[0]
    assert target.resolve().exists()
    assert paths[0].read_text(encoding="utf-8") == report.render(measured.frame(), measured.table, "markdown")


def test_an_unknown_format_names_those_that_exist(measured: Any) -> None:
    with pytest.raises(ValueError, match="table, markdown, csv, json, latex"):
        report.render(measured.frame(), measured.table, "html")
