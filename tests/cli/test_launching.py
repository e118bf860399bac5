"""`repro run`, with an engine that only pretends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

PART = ("--rows", "plain,better", "--columns", "1%", "--seeds", "1,3")


def test_run_ends_with_the_comparison_and_the_next_command(bench: Any) -> None:
    done = bench.run(*PART)
    assert done.code == 0, done.all
    assert "10.2 ± 0.1 (2)" in done.out and "13.2 ± 0.1 (2)" in done.out
    assert "claim" in done.out
    assert "10%" not in done.out.splitlines()[2]  # only the column that was asked for
    assert "Next: repro diff toy/table1 --scale tiny --rows plain,better --columns 1% --seeds 1,3" in done.out
    assert "[10/10] done" in done.err


def test_the_next_command_works_where_the_environment_is_another(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make demo` sets its folders for itself alone, and leaves its environment inactive."""
    monkeypatch.chdir(bench.root)
    done = bench.run(*PART)
    told = next(line for line in done.out.splitlines() if line.startswith("Next: ")).removeprefix("Next: ")
    command = told.partition(" --format markdown")[0]
    assert command.endswith("--seeds 1,3 --results results --output output")
    monkeypatch.delenv("REPRO_RESULTS")
    monkeypatch.delenv("REPRO_OUTPUT")
    assert "13.2 ± 0.1 (2)" in bench.call(*command.split()[1:]).out
    monkeypatch.setattr(sys, "argv", [str(bench.root / "venv" / "bin" / "repro")])
    monkeypatch.setenv("PATH", "")
    assert "Next: venv/bin/repro diff" in bench.run(*PART, "--results", "results").out


def test_run_again_repeats_nothing(bench: Any) -> None:
    bench.run(*PART)
    before = sorted(bench.records.iterdir())
    done = bench.run(*PART)
    assert done.code == 0
    assert "0 to run, 10 done or not needed" in done.err
    assert sorted(bench.records.iterdir()) == before


def test_dry_run_starts_nothing_and_says_why(bench: Any) -> None:
    done = bench.run(*PART, "--dry-run")
    assert done.code == 0
    assert done.out.count("never run") == 10
    assert not bench.records.exists()
    assert len(bench.run(*PART, "--dry-run", "--json").json["todo"]) == 10


def test_a_failed_stage_ends_with_1_and_leads_to_its_log(bench: Any) -> None:
    bench.failing.add("pretrain")
    done = bench.run(*PART)
    assert done.code == 1
    assert "pretrain was told to fail" in done.err
    assert "Next: repro logs toy/table1/better/1% --scale tiny" in done.out
    assert "--retry" in done.out
    bench.failing.clear()
    again = bench.run(*PART)
    assert again.code == 1 and "1 failed before (--retry starts them again)" in again.err
    assert bench.run(*PART, "--retry").code == 0


def test_json_has_everything_and_nothing_else(bench: Any) -> None:
    content = bench.run(*PART, "--json").json
    assert (content["table"], content["scale"], content["exit_code"]) == ("toy/table1", "tiny", 0)
    assert len(content["finished"]) == 10 and content["failed"] == {}


def test_the_default_scale_starts_nothing_big_by_accident(bench: Any) -> None:
    done = bench.call("run", "toy/table1", "--cluster", str(bench.cluster))
    assert done.code == 2
    assert "--scale tiny" in done.err
    assert not bench.results.exists()


def test_output_and_results_can_be_moved(bench: Any) -> None:
    bench.cluster.write_text("executor: debug\noutput_root: ${REPRO_OUTPUT}\nallow_dirty: true\n")
    elsewhere = bench.root / "elsewhere"
    done = bench.run(*PART, "--output", str(elsewhere / "output"), "--results", str(elsewhere / "results"))
    assert done.code == 0, done.all
    assert len(list((elsewhere / "results" / "records").iterdir())) == 10
    assert len(list((elsewhere / "output").glob("*/log.txt"))) == 10
    assert not bench.results.exists()
    assert os.environ["REPRO_RESULTS"] == str(bench.results)  # only for as long as the verb ran


def test_an_interrupt_says_how_to_go_on(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(work: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["toy_engine"], "run", pressed)
    done = bench.run(*PART)
    assert done.code == 130
    assert "goes on from its last checkpoint" in done.err
    assert f"repro run toy/table1 --scale tiny --cluster {bench.cluster} {' '.join(PART)}" in done.err
    assert "Traceback" not in done.all


def test_a_dead_terminal_does_not_hide_the_exit_code(bench: Any) -> None:
    """`repro ... | head -1` closes the pipe early; that is no traceback."""
    code = "from repro.cli import main; import sys; sys.argv = ['repro', 'show', 'toy/table1']; main()"
    done = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.stdout is not None and done.stderr is not None
    done.stdout.close()
    told = done.stderr.read()
    done.wait(60)
    assert "Traceback" not in told
    assert done.returncode not in (-signal.SIGKILL, 0) or told == ""


def test_what_others_run_is_counted_and_not_started_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from repro.harness import launch
    from repro.harness.state import StageState

    real = launch.status

    def status(plan: Any, cluster: Any, **options: Any) -> dict[str, StageState]:
        states = real(plan, cluster, **options)
        return states | {next(iter(states)): StageState("running", "host:7")}

    monkeypatch.setattr(launch, "status", status)
    monkeypatch.setattr("repro.harness.launch.debug.submit", lambda request: launch.Launched(todo=dict(request.todo)))
    assert "10 stages, 9 to run, 1 running or queued" in bench.run(*PART).err
