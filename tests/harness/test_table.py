"""Tables are read as printed, and every fault is reported at once: file, line, row, column, the nearest right name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.errors import TableError
from repro.harness import table
from repro.harness.table import Column, Number, Row, Table
from repro.harness.table_file import identifier

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine

GOOD = """\
paper: {title: A paper, arxiv: "1234.56789", table: 1, as_of: 2022-04-28, runs: 5, source: the print}
metric: coco_box.AP
tolerance: 0.5
seeds: [1, 2, 3, 4]
baseline: Base
gate: A
stages:
  encoder: {config: common/encoder.py, seeds: [0]}
  propose: {config: a/propose.py, seeds: [0]}
  pretrain: {config: a/pretrain.py, seeds: [0], cost: {gpu_hours: [9, 12], source: the README}}
  finetune: {config: a/finetune.py}
  evaluate: {config: common/evaluate.py}
columns:
  1%: {finetune: {data.percent: 1}}
  AP 50: {metric: coco_box.AP50, tolerance: 1, finetune: {data.percent: 1}}
rows:
  Base: {skip: [propose, pretrain], paper: {1%: 11.30 ± 0.3}}
  Quoted: {cited: true, paper: {1%: 9 ± 1, ap-50: 12.50}}
  Ours Too:
    group: New
    encoder: {config: common/other.py}
    finetune: {model: {depth: 50}}
    paper: {1%: 14.50 ± 0.3 (3), AP 50: 20}
    corrected: {1%: 13.50 ± 0.3}
  Later: {not_runnable: its recipe does not exist, pretrain: {config: a/later.py}, paper: {1%: 1}}
claims:
  - {id: better, text: ours is better, expr: {row: Ours Too, minus: Base, column: 1%}, above: 0}
accepted: {tiny: {ours-too: {1%: 2.5 ± 0.1 (3)}}}
accepted_reasons:
  - {scale: tiny, date: 2024-05-01, reason: first measurement}
scales: {small: {seeds: [7]}}
"""

Read = Callable[..., Table]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reader(text: str = GOOD) -> Table:
        path = tmp_path / "paper" / "table1.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return table.load("paper/table1", tmp_path)

    return reader


def faults(read: Read, *changes: tuple[str, str]) -> str:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(TableError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value", "spread", "decimals", "runs"),
    [
        ("24.80 ± 0.2", 24.8, 0.2, 2, 5),
        ("24.80±.25", 24.8, 0.25, 2, 5),
        ("3.5 +- 0.1 (2)", 3.5, 0.1, 1, 2),
        ("3.5 +/- 0.1", 3.5, 0.1, 1, 5),
        (".044", 0.044, None, 3, 5),
        ("45", 45.0, None, 0, 5),
        ("−0.3", -0.3, None, 1, 5),
        ("5e-5", 5e-5, None, 5, 5),
        ("1.5e-2", 0.015, None, 3, 5),
    ],
)
def test_numbers_keep_what_was_printed(text: str, value: float, spread: float | None, decimals: int, runs: int) -> None:
    number = Number.parse(text, runs=5)
    assert number == Number(text, value, spread, decimals, runs)
    assert number.half_unit == pytest.approx(0.5 / 10**decimals)


@pytest.mark.parametrize("wrong", ["", "-", "−", "14,5", "14.5 0.3", "nan", "14.5 ± ", "1e3", "14.5 (0)", "5 ± -1"])
def test_what_is_no_number_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not a number as printed"):
        Number.parse(wrong)


@RELAXED
@given(
    st.integers(0, 3).flatmap(
        lambda digits: st.tuples(
            st.just(digits),
            st.decimals(-100, 100, places=digits, allow_nan=False),
            st.none() | st.decimals(0, 9, places=digits, allow_nan=False),
            st.none() | st.integers(1, 99),
        )
    )
)
def test_any_printed_number_is_read_as_printed(printed: tuple[int, float, float | None, int | None]) -> None:
    digits, value, spread, runs = printed
    text = f"{value}" + (f" ± {spread}" if spread is not None else "") + (f" ({runs})" if runs else "")
    number = Number.parse(text)
    assert (number.text, number.value, number.decimals, number.runs) == (text, float(value), digits, runs)
    assert number.spread == (None if spread is None else float(spread))


def test_a_good_table_holds_what_the_file_says(read: Read) -> None:
    made = read()
    assert (made.name, made.title, made.baseline, made.tolerance) == ("paper/table1", "A paper", "base", 0.5)
    assert (made.paper.arxiv, made.paper.table, made.paper.as_of) == ("1234.56789", "1", "2022-04-28")
    assert [row.id for row in made.rows] == ["base", "quoted", "ours-too", "later"]
    assert made.row("base").paper["1%"] == Number("11.30 ± 0.3", 11.3, 0.3, 2, 5)
    assert made.row("quoted").paper["1%"].runs is None  # nobody says how often the quoted were run
    assert made.row("quoted").paper["ap-50"].text == "12.50"
    assert made.row("ours-too").paper["1%"].runs == 3
    assert made.row("ours-too").paper["ap-50"].runs is None  # a number without spread is one run or unknown
    assert made.row("ours-too").corrected["1%"].value == 13.5
    assert made.accepted["tiny"]["ours-too"]["1%"] == Number("2.5 ± 0.1 (3)", 2.5, 0.1, 1, 3)
    assert made.accepted_reasons[0].reason == "first measurement"
    assert (made.metric_of("1%"), made.metric_of("ap-50")) == ("coco_box.AP", "coco_box.AP50")
    assert made.column("ap-50").tolerance == 1
    assert made.claims[0].minus == "base"
    assert made.claims[0].gate == "A"


def test_seeds_follow_the_scale(read: Read) -> None:
    made = read()
    assert [made.seeds_at(scale) for scale in ("paper", "small", "tiny", "smoke")] == [
        (1, 2, 3, 4),
        (7,),
        (1, 2, 3),
        (1,),
    ]


def test_what_can_be_run(read: Read) -> None:
    made = read()
    assert made.runnable_cells() == (("base", "1%"), ("ours-too", "1%"), ("ours-too", "ap-50"))
    assert read(GOOD.replace(", paper: {1%: 11.30 ± 0.3}", "")).runnable_cells()[:2] == (
        ("base", "1%"),
        ("base", "ap-50"),
    )
    assert read(GOOD.replace("AP 50: {metric", "AP 50: {not_runnable: later, metric")).runnable_cells() == (
        ("base", "1%"),
        ("ours-too", "1%"),
    )


def test_published_weights_are_evaluated_at_scale_paper_only(read: Read) -> None:
    plain, made = read(), read(GOOD.replace("Base: {skip", "Base: {published: true, skip"))
    assert made.runnable_cells() == plain.runnable_cells()
    assert made.runnable_cells("tiny") == tuple(cell for cell in plain.runnable_cells("tiny") if cell[0] != "base")
    assert made.row("base").waits_for("tiny") == "it evaluates published weights, and there are none of scale tiny"
    assert not made.row("base").waits_for("paper")
    assert made.digest != plain.digest


def test_a_cell_lays_row_and_column_over_the_stages(read: Read) -> None:
    made = read()
    stages = made.cell_stages("ours-too", "1%")
    assert [stage.name for stage in stages] == ["encoder", "propose", "pretrain", "finetune", "evaluate"]
    assert stages[0].config == "common/other.py"
    assert stages[2].cost == {"gpu_hours": [9, 12], "source": "the README"}
    assert stages[3].overrides == {"data.percent": 1, "model.depth": 50}
    assert [stage.parents for stage in stages] == [(), (), ("encoder", "propose"), ("pretrain",), ("finetune",)]
    base = made.cell_stages("base", "1%")
    assert [stage.parents for stage in base] == [(), ("encoder",), ("finetune",)]
    assert (base[0].seeds, base[1].seeds) == ((0,), None)
    assert made.cell_stages("quoted", "1%") == ()
    assert made.cell_stages("later", "1%")[2].config == "a/later.py"  # what cannot be run yet still names its recipe


@pytest.mark.parametrize(
    ("kinds", "parents"),
    [
        (["encoder", "train", "evaluate"], ["", "encoder", "train"]),
        (["encoder", "pretrain", "evaluate"], ["", "encoder", "pretrain"]),
        (["encoder", "finetune", "evaluate"], ["", "encoder", "finetune"]),
        (
            ["encoder", "propose", "pretrain", "base:finetune", "finetune", "evaluate"],
            ["", "", "encoder propose", "pretrain", "base", "finetune"],
        ),
        (["encoder", "train", "finetune"], ["", "encoder", "train"]),
        (["propose", "evaluate"], ["", ""]),
    ],
)
def test_parents_follow_from_kinds(kinds: list[str], parents: list[str]) -> None:
    of = {name.partition(":")[0]: name.rpartition(":")[2] for name in kinds}
    assert [" ".join(table.parents_of(name, of)) for name in of] == parents


def test_a_column_leaves_out_what_it_does_not_need(read: Read) -> None:
    """And stages of kind build stand for a training where the model is asked for and not its weights."""
    made = read(
        """
        metric: coco_box.AP
        seeds: [0]
        stages:
          encoder: {config: a/encoder.py}
          train: {config: a/train.py}
          evaluate: {config: a/evaluate.py}
        columns:
          ap: {}
          fps:
            metric: latency.fps
            machine: [T4, tensorrt]
            skip: [encoder]
            train: {kind: build}
            evaluate: {config: a/latency.py}
        rows:
          One: {encoder: {config: a/own.py}, train: {config: a/one.py}}
        """
    )
    stages = made.cell_stages("one", "fps")
    assert [(one.name, one.kind, one.config, one.parents) for one in stages] == [
        ("train", "build", "a/one.py", ()),
        ("evaluate", "evaluate", "a/latency.py", ("train",)),
    ]
    assert made.column("fps").machine == ("T4", "tensorrt")
    assert [one.kind for one in made.cell_stages("one", "ap")] == ["encoder", "train", "evaluate"]


def test_named_parents_win_where_the_cell_has_them(read: Read) -> None:
    text = GOOD.replace("finetune: {config: a/finetune.py}", "finetune: {config: a/f.py, from: [encoder, pretrain]}")
    made = read(text)
    assert made.cell_stages("ours-too", "1%")[3].parents == ("encoder", "pretrain")
    assert made.cell_stages("base", "1%")[1].parents == ("encoder",)


def test_rows_and_columns_may_set_seeds_kind_and_parents(read: Read) -> None:
    text = GOOD.replace("finetune: {model: {depth: 50}}", "finetune: {kind: train, seeds: [5], from: [encoder]}")
    stage = read(text).cell_stages("ours-too", "1%")[3]
    assert (stage.kind, stage.seeds, stage.parents) == ("train", (5,), ("encoder",))
    assert stage.overrides == {"data.percent": 1}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("metric: coco_box.AP\n", "", "metric is missing"),
        ("metric: coco_box.AP\n", "metric: AP\n", "line 2: metric cannot be 'AP'"),
        ("metric: coco_box.AP\n", "metric: coco_bbox.AP\n", "no repro/evaluation/coco_bbox.py. Did you mean coco_box?"),
        ("gate: A", "gat: A", "line 6: unknown key gat. Did you mean gate?"),
        ("gate: A", "gate: D", "line 6: gate: input should be 'A', 'B', 'C' or 'void', not 'D'"),
        ("baseline: Base", "baseline: Bass", "line 5: baseline: there is no row Bass. Did you mean Base?"),
        ("title: A paper, ", "", "paper: title is missing"),
        ("runs: 5", "runs: 0", "paper: runs: input should be greater than or equal to 1, not 0"),
        ("seeds: [1, 2, 3, 4]", "seeds: [1, 1]", "line 4: seeds: a seed is listed twice"),
        ("seeds: [1, 2, 3, 4]", "seeds: 3", "seeds: input should be a valid list, not 3"),
        ("tolerance: 0.5", "tolerance: wide", "tolerance: input should be a valid number"),
        ("{small: {seeds", "{smal: {seeds", "scales: there is no scale smal. Did you mean small?"),
        ("{small: {seeds: [7]}}", "{small: {seed: [7]}}", "unknown key seed. Did you mean seeds?"),
        # stages
        (
            "{config: a/finetune.py}",
            "{confg: a/finetune.py}",
            "stage finetune: unknown key confg. Did you mean config?",
        ),
        ("{config: a/finetune.py}", "{data.x: 1}", "stage finetune has no config"),
        ("{config: a/finetune.py}", "{config: a/finetune}", "stage finetune: config cannot be 'a/finetune'"),
        ("{config: a/finetune.py}", "a/finetune.py", "stage finetune: keys and values were expected"),
        ("  finetune: {config", "  tune: {config", "stage tune: kind cannot be 'tune'. Did you mean finetune?"),
        ("{config: a/finetune.py}", "{config: a.py, from: [pretrian]}", "no earlier stage: Did you mean pretrain?"),
        ("{config: a/finetune.py}", "{config: a.py, from: [evaluate]}", "no earlier stage: stands after it"),
        ("gpu_hours: [9, 12]", "gpu_hours: [12, 9]", "a range is [low, high], neither below 0"),
        ("gpu_hours: [9, 12], ", "", "give gpu_hours (of another run: with of, and images if it had others), or"),
        # rows and columns
        ("1%: {finetune: {", "1%: {finetun: {", 'column "1%": unknown key finetun. Did you mean finetune?'),
        ("{cited: true", "{sited: true", 'line 18: row "Quoted": unknown key sited. Did you mean cited?'),
        ("cited: true", "cited: maybe", 'row "Quoted": cited: input should be a valid boolean'),
        ("skip: [propose, pretrain]", "skip: [propose, pretrian]", "skips stage pretrian. Did you mean pretrain?"),
        ("skip: [propose, pretrain]", "skip: [encoder], encoder: {config: a.py}", "sets stage encoder, which it skips"),
        ("1%: {finetune", "1%: {skip: [encodr], finetune", 'column "1%": skips stage encodr. Did you mean encoder?'),
        ("1%: {finetune", "1%: {skip: [finetune], finetune", "sets stage finetune, which it skips"),
        ("{cited: true", "{skip: [encoder], cited: true", "it can have no stages of its own"),
        ("11.30 ± 0.3", "eleven", 'row "Base", column "1%": \'eleven\' is not a number as printed'),
        ("11.30 ± 0.3", '"-"', "a number that is not printed is a key left out"),
        ("paper: {1%: 11.30", "paper: {2%: 11.30", 'line 17: row "Base": there is no column 2%. Known: 1%, AP 50'),
        ("corrected: {1%", "corrected: {3%", 'row "Ours Too", corrected: there is no column 3%'),
        ("  Quoted:", "  base: {}\n  Quoted:", 'row "base": has the id base, as has "Base"'),
        ("AP 50: {metric", "'1 %': {id: 1%, metric", 'column "1 %": has the id 1%, as has "1%"'),
        ("{not_runnable:", "{id: BAD, not_runnable:", "id cannot be 'BAD'"),
        ("  Later:", "  ÄÖ:", "no id can be made of its key"),
        ("finetune: {model: {depth: 50}}", "finetune: {data.percent: 2}", "finetune: both set data.percent"),
        ("finetune: {model: {depth: 50}}", "finetune: {data: null}", "unknown key data"),
        ("finetune: {model: {depth: 50}}", "finetune: {data.percent.x: 2}", "finetune: both set data.percent.x"),
        # claims
        ("minus: Base", "minus: Basis", "claim better: there is no row Basis. Did you mean Base?"),
        ("column: 1%}", "column: 9%}", "claim better: there is no column 9%"),
        (", above: 0", "", "claim better: give one bound, above or below"),
        (", above: 0", ", above: 0, below: 1", "claim better: give one bound, above or below"),
        ("text: ours is better, ", "", "claim better: text is missing"),
        ("expr: {row: Ours Too", "expr: {rows: Ours Too", "claim better: expr.row is missing"),
        ("claims:\n", "claims:\n  - {id: better, text: a, expr: {row: base, column: 1%}, above: 0}\n", "two claims"),
        # accepted numbers
        ("ours-too: {1%: 2.5", "theirs: {1%: 2.5", "accepted at scale tiny: there is no row theirs"),
        ("accepted: {tiny", "accepted: {tinny", "accepted: there is no scale tinny. Did you mean tiny?"),
        ("2.5 ± 0.1 (3)", "two", 'accepted at scale tiny, row "ours-too", column "1%": \'two\' is not a number'),
        ("reason: first measurement", "reason: ''", "accepted_reasons 1: reason"),
    ],
)
def test_each_fault_is_named(read: Read, old: str, new: str, said: str) -> None:
    message = faults(read, (old, new))
    assert said in message
    assert "table1.yaml has " in message


def test_all_faults_come_at_once_in_the_order_of_the_file(read: Read) -> None:
    message = faults(
        read,
        ("gate: A", "gate: D\nseeds: [1]"),
        ("metric: coco_box.AP\n", "metric: AP\n"),
        ("11.30 ± 0.3", "eleven"),
        ("finetune: {model: {depth: 50}}", "finetune: {data.percent: 2, confg: a.py}"),
        (", above: 0", ", abov: 0"),
    )
    lines = message.splitlines()
    assert lines[0].endswith("table1.yaml has 8 faults:")
    numbers = [int(line.split()[1].rstrip(":")) for line in lines[1:]]
    assert numbers == sorted(numbers)
    said = ("'AP'", "'D'", "seeds is written twice", "eleven", "both set data.percent", "confg", "Did you mean above?")
    assert all(word in message for word in said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("paper: [\n", "table1.yaml:2:1: not YAML"),
        ("- 1\n", "table1.yaml is not a table"),
        ("", "table1.yaml is not a table"),
        ("rows: {a: 1}\n", 'row "a": keys and values were expected, not 1'),
    ],
)
def test_what_is_hardly_a_table_is_refused_by_name(read: Read, text: str, said: str) -> None:
    with pytest.raises(TableError) as caught:
        read(text)
    assert said in str(caught.value)


def test_a_row_written_twice_is_not_lost_in_silence(read: Read) -> None:
    message = faults(read, ("  Quoted:", "  Base: {}\n  Quoted:"))
    assert "line 18: rows.Base is written twice, first in line 17" in message


def test_a_stage_cannot_have_the_name_of_a_key_of_rows(read: Read) -> None:
    message = faults(read, ("stages:\n", "stages:\n  label: {kind: train, config: common/later.py}\n"))
    assert "stage label: rows and columns have a key label, so a stage cannot be called that" in message


def test_digest_follows_what_matters_to_a_plan(read: Read) -> None:
    base = read().digest
    for old, new in (
        ("11.30", "12.30"),
        ("title: A paper", "title: B"),
        ("accepted: {tiny", "accepted: {small"),
        ("gate: A", "gate: B"),
        ("tolerance: 0.5", "tolerance: 0.7"),
        ("group: New", "group: Old"),
        ("above: 0", "above: 1"),
        ("a/later.py", "a/other.py"),
    ):
        assert read(GOOD.replace(old, new)).digest == base, old
    for old, new in (
        ("percent: 1}}\n  AP", "percent: 2}}\n  AP"),
        ("seeds: [1, 2", "seeds: [9, 2"),
        ("depth: 50", "depth: 18"),
        ("common/other.py", "common/another.py"),
        ("coco_box.AP50", "coco_box.AP75"),
        ("{seeds: [7]}", "{seeds: [8]}"),
        ("skip: [propose, pretrain]", "skip: [propose]"),
    ):
        assert read(GOOD.replace(old, new)).digest != base, old


def test_unknown_rows_and_columns_get_the_nearest(read: Read) -> None:
    with pytest.raises(TableError, match=r"no row 'bass'\. Did you mean base"):
        read().row("bass")
    with pytest.raises(TableError, match="no column '50%'"):
        read().cell_stages("base", "50%")


def test_a_table_of_our_own_needs_no_paper_and_no_numbers(read: Read) -> None:
    text = """\
title: Ours
metric: coco_box.AP
seeds: [0]
stages: {train: {config: a.py}, evaluate: {config: b.py}}
columns: {AP: }
rows: {one: , two: {train: {model.depth: 18}}}
"""
    made = read(text)
    assert made.title == "Ours"
    assert made.runnable_cells() == (("one", "ap"), ("two", "ap"))


@pytest.mark.parametrize(("key", "id"), [("1%", "1%"), ("Random-K (ours)", "random-k-ours"), ("R@100", "r-100")])
def test_ids_come_from_keys(key: str, id: str) -> None:
    assert identifier(key) == id


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("REPRO_PAPER", raising=False)
    monkeypatch.setattr("repro.harness.places.default_paper", lambda: "detreg")
    for name in ("detreg/table5", "detreg/table10", "adept/table5", "adept/table2", "examples/bccd", "nightly/smoke"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text("not: opened", encoding="utf-8")
    (tmp_path / "detreg" / "notes.yaml").write_text("", encoding="utf-8")
    return tmp_path


def test_names_are_those_of_the_files_in_the_order_of_numbers(folder: Path) -> None:
    for name in ("ours_variants", "text", "figure12", "figure3"):
        (folder / "adept" / f"{name}.yaml").write_text("")
    assert table.names(folder) == [
        "adept/table2",
        "adept/table5",
        "adept/figure3",
        "adept/figure12",
        "adept/text",
        "adept/ours_variants",
        "detreg/table5",
        "detreg/table10",
        "examples/bccd",
    ]


def test_names_resolve(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert table.resolve_name("adept/table5", folder) == ("adept/table5", None)
    assert table.resolve_name("bccd", folder)[0] == "examples/bccd"
    name, remark = table.resolve_name("table5", folder)
    assert name == "detreg/table5"
    assert remark == "table5 is taken as detreg/table5; there is also adept/table5"
    assert table.resolve_name("table5", folder, "adept")[0] == "adept/table5"
    monkeypatch.setattr("repro.harness.places.default_paper", lambda: None)
    with pytest.raises(TableError, match="could be adept/table5 or detreg/table5: name one, or set REPRO_PAPER"):
        table.resolve_name("table5", folder)


@pytest.mark.parametrize(
    ("wrong", "near"), [("detreg/tabel5", "detreg/table5"), ("tabel10", "table10"), ("examples/bcd", "examples/bccd")]
)
def test_a_wrong_name_gets_the_nearest(folder: Path, wrong: str, near: str) -> None:
    with pytest.raises(TableError, match=f"no table {wrong} in .* Did you mean {near}?"):
        table.resolve_name(wrong, folder)


def test_a_file_anywhere_can_be_a_table(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "one.yaml"
    path.parent.mkdir()
    path.write_text(GOOD, encoding="utf-8")
    assert table.load(path, tmp_path / "benchmarks").name == "mine/one"
    with pytest.raises(TableError, match="There is no file"):
        table.load(tmp_path / "other.yaml", tmp_path)


def test_gates_and_rows_are_plain_data() -> None:
    assert replace(Row("a", "A"), label="B") == Row("a", "B")
    assert Column("a", "A").metric is None
