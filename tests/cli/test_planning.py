"""`repro plan`."""

from __future__ import annotations

from typing import Any


def test_plan_counts_what_is_shared(bench: Any) -> None:
    done = bench.call("plan", "toy/table1", "--scale", "tiny")
    assert done.code == 0, done.all
    assert "4 cells to run, 1 cited" in done.out
    assert "not runnable yet: later: its recipe does not exist yet" in done.out
    assert "pretrain 1 (shared by up to 6 finetune)" in done.out
    assert "finetune 12, evaluate 12" in done.out
    assert "26 stages: 0 recorded, 26 to run" in done.out
    assert (bench.results / "plans" / "toy-table1.tiny.json").exists()


def test_plan_says_what_is_recorded_and_why_the_rest_must_run(bench: Any) -> None:
    bench.run("--rows", "plain", "--columns", "1%", "--seeds", "1")
    path = bench.benchmarks / "toy" / "table1.yaml"
    path.write_text(path.read_text().replace("data.percent: 10}", "data.percent: 20}"))
    done = bench.call("plan", "toy/table1", "--scale", "tiny", "--why")
    assert "26 stages: 3 recorded, 23 to run" in done.out
    assert "data.percent" in done.out  # what differs from the nearest recorded stage


def test_plan_of_a_part_keeps_the_whole_table_in_its_file(bench: Any) -> None:
    done = bench.call("plan", "toy/table1", "--scale", "tiny", "--rows", "better", "--seeds", "2", "--json").json
    assert (done["cells"], done["seeds"]) == (2, [2])
    whole = bench.call("status", "toy/table1", "--scale", "tiny", "--cluster", str(bench.cluster), "--json").json
    assert len(whole["stages"]) == 26


def test_seeds_outside_the_scale_are_added_to_the_plan(bench: Any) -> None:
    done = bench.call("plan", "toy/table1", "--scale", "tiny", "--seeds", "7", "--json").json
    assert done["seeds"] == [7]
    assert bench.call("list", "--json").json[0]["scales"]["tiny"]["cells"] == 16  # 4 cells, seeds 1, 2, 3, 7


def test_plan_of_what_cannot_run_says_why(bench: Any) -> None:
    for row, told in (("quoted", "only quoted by the paper"), ("later", "its recipe does not exist yet")):
        done = bench.call("plan", "toy/table1", "--scale", "tiny", "--rows", row)
        assert done.code == 2
        assert told in done.err


def test_plan_names_all_recipes_that_do_not_resolve(bench: Any) -> None:
    text = bench.text.replace("toy/finetune.py", "toy/missing_a.py").replace("toy/pretrain.py", "toy/missing_b.py")
    bench.declare("toy/table1", text)
    done = bench.call("plan", "toy/table1", "--scale", "tiny")
    assert done.code == 2
    assert "missing_a.py" in done.err and "missing_b.py" in done.err


def test_cost_never_invents_a_number(bench: Any) -> None:
    done = bench.call("plan", "toy/table1", "--scale", "tiny", "--json").json
    assert [(one["basis"], one["stages"]) for one in done["cost"]] == [("unknown", 26)]
    assert "cost unknown for 26 stages" in bench.call("plan", "toy/table1", "--scale", "tiny").out


def test_plan_says_what_lies_on_the_disk(bench: Any) -> None:
    bench.run("--rows", "plain", "--columns", "1%", "--seeds", "1")
    disk = bench.call("plan", "toy/table1", "--scale", "tiny", "--cluster", str(bench.cluster), "--json").json["disk"]
    assert disk["output_root"] == str(bench.output)
    assert disk["used_bytes"] > 0 and disk["free_bytes"] > 0


def test_plan_of_a_table_that_cannot_run_at_all_names_everything_that_is_missing(bench: Any) -> None:
    path = bench.benchmarks / "toy" / "table1.yaml"
    text = path.read_text().replace("  1%:  {", "  1%:  {not_runnable: no such data, ")
    path.write_text(text.replace("  10%: {finetune", "  10%: {not_runnable: no such metric, finetune"))
    done = bench.call("plan", "toy/table1", "--scale", "tiny")
    assert done.code == 2
    for told in ("its recipe does not exist yet", "no such data", "no such metric"):
        assert told in done.err
