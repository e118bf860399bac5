"""The displays of a run."""

from __future__ import annotations

import pytest

from repro.cli import progress
from repro.harness.launch import Event

PROGRESS = {"iteration": 30, "iterations": 120, "eta_seconds": 45.0, "losses": {"class": 1.5, "box": 0.25}}


def events() -> list[Event]:
    return [
        Event("started", "a", "encoder"),
        *[Event("progress", "a", "encoder", progress=PROGRESS)] * 100,
        Event("finished", "a", "encoder"),
        Event("elsewhere", "b", "pretrain", "host:7"),
        Event("finished", "b", "pretrain"),
        Event("started", "c", "finetune"),
        Event("failed", "c", "finetune", "loss is not finite"),
        Event("blocked", "d", "evaluate", "finetune failed"),
    ]


def test_lines_say_each_event_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.display(4, on_terminal=False) as shown:
        for event in events():
            shown(event)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "[0/4] started encoder",
        "[1/4] done encoder",
        "[1/4] runs elsewhere pretrain",
        "[2/4] done pretrain",
        "[2/4] started finetune",
        "[3/4] FAILED finetune",
        "[4/4] blocked evaluate",
    ]
    assert lines[5].endswith("loss is not finite")


def test_lines_mention_a_long_stage_once_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 5))  # each look at the clock takes five seconds
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.display(1, on_terminal=False) as shown:
        for event in events()[:101]:
            shown(event)
    lines = capsys.readouterr().err.splitlines()
    assert 5 <= len(lines) <= 10
    assert lines[1] == "[0/1] running encoder: 30/120, loss 1.75, 45 s left"


def test_bars_show_what_runs_and_keep_a_line_for_what_ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    with progress.display(4, on_terminal=True) as shown:
        assert isinstance(shown, progress.Bars)
        for event in events()[:2]:
            shown(event)
        running = shown.bars.tasks[-1]
        assert (running.description, running.completed, running.total) == ("encoder", 30, 120)
        assert running.fields["about"] == "30/120, loss 1.75, 45 s left"
        for event in events()[2:]:
            shown(event)
        assert [task.description for task in shown.bars.tasks] == ["all stages"]
        assert shown.bars.tasks[0].completed == 4
    told = capsys.readouterr().err
    assert "FAILED  finetune: loss is not finite" in told
    assert "blocked evaluate: finetune failed" in told
