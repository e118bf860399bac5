"""`repro status`, `logs` and `cancel`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

PART = ("--rows", "better", "--columns", "1%", "--seeds", "1")


@pytest.fixture
def at(bench: Any) -> tuple[str, ...]:
    """Scale and cluster, as every verb here wants them."""
    return ("--scale", "tiny", "--cluster", str(bench.cluster))


def running(bench: Any, kind: str) -> str:
    """Pretend that this process runs a stage, and return its signature."""
    from repro.harness.claim import Claim

    stages = json.loads((bench.results / "plans" / "toy-table1.tiny.json").read_text())["stages"]
    signature = next(stage["signature"] for stage in stages if stage["kind"] == kind)
    output = bench.output / signature
    output.mkdir(parents=True)
    Claim.acquire(output)
    progress = {"iteration": 30, "iterations": 120, "eta_seconds": 45.0, "losses": {"loss": 1.5}, "phase": "train"}
    (output / "progress.json").write_text(json.dumps(progress))
    (output / "log.txt").write_text("first\nsecond\nthird\n")
    return str(signature)


def test_status_counts_and_lists_what_is_not_done(bench: Any, at: tuple[str, ...]) -> None:
    bench.failing.add("finetune")
    bench.run(*PART)
    done = bench.call("status", "toy/table1", *at, *PART)
    assert "4 stages: 1 failed, 1 blocked, 2 available" in done.out
    assert "finetune was told to fail" in done.out
    assert "encoder" not in done.out.split("\n", 1)[1]
    assert "encoder" in bench.call("status", "toy/table1", *at, *PART, "--all").out


def test_status_shows_progress(bench: Any, at: tuple[str, ...]) -> None:
    bench.call("plan", "toy/table1", "--scale", "tiny")
    signature = running(bench, "encoder")
    done = bench.call("status", "toy/table1", *at)
    assert "30/120, loss 1.5, 45 s left" in done.out
    assert "━" in done.out
    found = {one["signature"]: one for one in bench.call("status", "toy/table1", *at, "--json").json["stages"]}
    assert found[signature]["state"] == "running"
    assert found[signature]["progress"]["iteration"] == 30


def test_status_of_a_cell(bench: Any, at: tuple[str, ...]) -> None:
    bench.call("plan", "toy/table1", "--scale", "tiny")
    stages = bench.call("status", "toy/table1/plain/1%", *at, "--seeds", "1", "--json").json["stages"]
    assert [one["kind"] for one in stages] == ["encoder", "finetune", "evaluate"]


@pytest.mark.parametrize("verb", ["status", "logs", "cancel", "diff"])
def test_without_a_plan_the_command_that_makes_one_is_named(bench: Any, at: tuple[str, ...], verb: str) -> None:
    done = bench.call(verb, "toy/table1", *at)
    assert done.code == 2
    assert "repro plan toy/table1 --scale tiny" in done.err


def test_a_stale_plan_is_refused(bench: Any, at: tuple[str, ...]) -> None:
    bench.call("plan", "toy/table1", "--scale", "tiny")
    path = bench.benchmarks / "toy" / "table1.yaml"
    path.write_text(path.read_text().replace("data.percent: 10}", "data.percent: 20}"))
    for verb in ("status", "diff"):
        done = bench.call(verb, "toy/table1", *at)
        assert done.code == 2
        assert "changed" in done.err


def test_logs_of_a_cell_come_from_what_failed(bench: Any, at: tuple[str, ...]) -> None:
    bench.failing.add("finetune")
    bench.run(*PART)
    done = bench.call("logs", "toy/table1/better/1%", *at, "--seed", "1")
    assert "last line of finetune" in done.out
    assert "StageError: finetune was told to fail" in done.out
    assert "failed" in done.err


def test_logs_by_stage_name_signature_and_length(bench: Any, at: tuple[str, ...]) -> None:
    bench.run(*PART)
    done = bench.call("logs", "toy/table1/better/1%", *at, "--seed", "1", "--stage", "pretrain", "-n", "1")
    assert done.out.strip() == "last line of pretrain"
    signature = bench.call("logs", "toy/table1/better/1%", *at, "--stage", "pretrain", "--json").json["stage"][
        "signature"
    ]
    assert bench.call("logs", "toy/table1", *at, "--stage", signature[:8], "-n", "1").out.strip() == done.out.strip()


def test_logs_of_a_stage_that_does_not_exist(bench: Any, at: tuple[str, ...]) -> None:
    bench.run(*PART)
    done = bench.call("logs", "toy/table1/better/1%", *at, "--stage", "nothing")
    assert done.code == 2
    assert "nothing" in done.err


def test_follow_prints_what_is_added_until_the_stage_ends(
    bench: Any, at: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.call("plan", "toy/table1", "--scale", "tiny")
    output = bench.output / running(bench, "encoder")

    def later(seconds: float) -> None:
        with (output / "log.txt").open("a") as file:
            file.write("fourth\n")
        (Path(output) / "attempts" / "1.json").write_text(
            json.dumps(json.loads((output / "attempts" / "1.json").read_text()) | {"state": "finished"})
        )

    monkeypatch.setattr("repro.cli.watching.time.sleep", later)
    monkeypatch.setattr("repro.cli.watching.time.monotonic", iter(range(0, 10_000, 100)).__next__)
    done = bench.call("logs", "toy/table1", *at, "--stage", "encoder", "--follow")
    assert done.out.splitlines()[-1] == "fourth"


def test_cancel_leaves_alone_what_other_cells_need(
    bench: Any, at: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.call("plan", "toy/table1", "--scale", "tiny")
    ended: list[tuple[int, int]] = []
    encoder = running(bench, "encoder")
    monkeypatch.setattr(os, "kill", lambda pid, number: ended.append((pid, number)) if number else None)
    assert "Nothing runs" in bench.call("cancel", "toy/table1", *at, "--rows", "plain").out
    assert ended == []
    done = bench.call("cancel", "toy/table1", *at)
    assert f"cancelled {encoder}" in done.out
    assert [pid for pid, _ in ended] == [os.getpid()]
