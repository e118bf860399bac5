"""`repro list`, `show` and `check`."""

from __future__ import annotations

from typing import Any


def test_list_counts_cells_done_at_each_scale(bench: Any) -> None:
    bench.run("--rows", "plain", "--seeds", "1")
    bench.declare("toy/table2", "nonsense: [")
    done = bench.call("list")
    assert "2/12" in done.out  # plain at 1 % and 10 %, of two rows, two columns, three seeds
    assert "repro check toy/table2" in done.out
    first, second = bench.call("list", "--json").json
    assert first == {
        "table": "toy/table1",
        "title": first["title"],
        "scales": {"tiny": {"done": 2, "cells": 12, "stale": False}},
    }
    assert second["title"] is None


def test_list_marks_plans_that_are_older_than_their_table(bench: Any) -> None:
    bench.call("plan", "toy/table1", "--scale", "tiny")
    path = bench.benchmarks / "toy" / "table1.yaml"
    path.write_text(path.read_text().replace("data.percent: 10}", "data.percent: 20}"))
    done = bench.call("list")
    assert "0/12*" in done.out
    assert "planned before its table changed" in done.out


def test_list_by_pattern(bench: Any) -> None:
    bench.declare("other/table1")
    assert [one["table"] for one in bench.call("list", "toy/*", "--json").json] == ["toy/table1"]
    assert "No table fits 'x*'" in bench.call("list", "x*").err


def test_show_prints_the_paper_and_the_recipes(bench: Any) -> None:
    done = bench.call("show", "toy/table1")
    for told in ("14.0 ± 0.5", "Quoted (cited)", "Later (not runnable yet)", "its recipe does not exist yet"):
        assert told in done.out
    assert "finetune  toy/finetune.py  data.percent=10" in done.out
    assert "pretraining helps" in done.out


def test_show_tells_rows_of_one_label_apart(bench: Any) -> None:
    rows = "".join(f"  {name}: {{label: Same, group: {name}, not_runnable: no recipe}}\n" for name in ("short", "long"))
    bench.declare("toy/table1", bench.text.replace("claims:", f"{rows}claims:"))
    done = bench.call("show", "toy/table1")
    for told in ("short, Same: not runnable yet", "long, Same: not runnable yet", "  Later: not runnable yet"):
        assert told in done.out


def test_show_as_json_has_every_cell_with_its_stages(bench: Any) -> None:
    content = bench.call("show", "toy/table1", "--json").json
    cells = {(cell["row"], cell["column"]): [stage["name"] for stage in cell["stages"]] for cell in content["cells"]}
    assert cells["better", "1%"] == ["encoder", "pretrain", "finetune", "evaluate"]
    assert cells["plain", "10%"] == ["encoder", "finetune", "evaluate"]
    assert ("quoted", "1%") not in cells and ("later", "1%") not in cells


def test_check_is_content_with_a_sound_folder(bench: Any) -> None:
    done = bench.call("check")
    assert done.code == 0, done.all
    assert "No faults in 1 table, their recipes (4 plans)" in done.out


def test_check_tells_everything_at_once(bench: Any) -> None:
    bench.declare("toy/table2", bench.text.replace("toy/finetune.py", "toy/missing.py"))
    bench.declare("toy/table3", "metric: 3\nrows: {")
    nightly = bench.benchmarks / "nightly"
    nightly.mkdir()
    (nightly / "wrong.yaml").write_text("tables: [{table: toy/tabel1, scale: tiny}]\ncluster: nowhere\n")
    done = bench.call("check")
    assert done.code == 2
    for told in ("toy/missing.py", "table3.yaml", "Did you mean toy/table1?", "there is no cluster 'nowhere'"):
        assert told in done.err
    assert "Traceback" not in done.all


def test_a_data_set_that_is_not_here_is_no_fault_of_the_table_but_an_unknown_one_is(bench: Any) -> None:
    bench.declare("toy/table2", bench.text.replace("toy/finetune.py", "toy/absent.py"))
    done = bench.call("check")
    assert done.code == 0, done.all
    assert done.err.count("not on this machine: photographs are not found; looked for /nowhere") == 1
    bench.declare("toy/table2", bench.text.replace("toy/finetune.py", "toy/unknown.py"))
    done = bench.call("check")
    assert done.code == 2
    assert "Did you mean photographs?" in done.err


def test_check_of_one_table_looks_at_nothing_else(bench: Any) -> None:
    bench.declare("toy/table3", "metric: 3\nrows: {")
    assert bench.call("check", "toy/table1", "--no-recipes").code == 0
    found = bench.call("check", "toy/table3", "--json")
    assert found.code == 2
    assert len(found.json["faults"]) == 1
    assert found.json["clusters"] == []


def test_check_asks_whether_a_cluster_can_be_used_here(bench: Any) -> None:
    path = bench.root / "far.yaml"
    path.write_text(f"executor: local\noutput_root: {bench.output}\npython: /nowhere/python\n")
    done = bench.call("check", "toy/table1", "--no-recipes", "--cluster", str(path))
    assert done.code == 2
    assert "/nowhere/python" in done.err
