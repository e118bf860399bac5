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
    assert {one["each"]["basis"] for one in done["cost"]["lines"]} == {"unknown"}
    assert (done["cost"]["totals"], sum(done["cost"]["unknown"].values())) == ([], 26)
    assert (
        "cost unknown for 26 stages: encoder 1, pretrain 1, finetune 12, evaluate 12"
        in bench.call("plan", "toy/table1", "--scale", "tiny").out
    )


def test_plan_prices_with_formula_source_and_sums_and_names_what_is_unknown(bench: Any) -> None:
    quoted = "cost: {gpu_hours: [8, 8], source: the README}"
    of = "cost: {gpu_hours: [10, 10], of: {epochs: 2, images: 50}, images: 100, source: the log}"
    text = bench.text.replace("toy/pretrain.py, ", f"toy/pretrain.py, {quoted}, ")
    bench.declare(
        "toy/table1",
        text.replace("toy/finetune.py", f"toy/finetune.py, {of}, train.epochs: 20, train.iterations: null"),
    )
    told = bench.call("plan", "toy/table1", "--scale", "paper").out
    assert "pretrain 8 GPU-hours for 1 stage, paper [1]" in told
    one = "12 GPU-hours for 6 stages, 2 each, scaled: 10 × (20 epochs × 1 % of 100 images) ÷ (2 epochs × 50 images) [2]"
    assert f"finetune {one}" in told
    assert "finetune 120 GPU-hours for 6 stages, 20 each, scaled: 10 × (20 epochs × 10 % of 100 images)" in told
    assert "in all 140 GPU-hours: pretrain 8, finetune 132 (paper 8, scaled 132)" in told
    assert "cost unknown for 13 stages: encoder 1, evaluate 12" in told
    assert "[1] the README" in told and "[2] the log" in told


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
