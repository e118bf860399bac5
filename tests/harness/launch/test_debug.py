"""The debug executor: in this process, with the same records and failure files as every other."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest

from repro.harness import record
from repro.harness.launch import Event, launch, status


@pytest.fixture
def debug(world, monkeypatch):
    monkeypatch.syspath_prepend(str(world.project))
    yield replace(world, cluster=replace(world.cluster, executor="debug"))
    sys.modules.pop("fake_engine", None)


def run(world, plan, **more):
    return launch(plan, world.cluster, records=world.records, project=world.project, entry="fake_engine:run", **more)


def test_stages_run_here_and_leave_the_same_records(debug, make_plan):
    plan = make_plan({"a": ("train", [], {"steps": 3}), "b": ("evaluate", ["a"], {})})
    events: list[Event] = []
    launched = run(debug, plan, on_event=events.append)
    assert launched.finished == list(plan.stages)
    assert {note["pid"] for note in debug.notes("starts")} == {os.getpid()}
    assert [event.what for event in events] == ["started", "finished"] * 2
    here = [record.latest(signature, debug.records) for signature in plan.stages]
    local = replace(debug, cluster=replace(debug.cluster, executor="local", output_root=debug.root / "again"))
    local = replace(local, records=debug.records.with_name("others"))
    assert run(local, plan).ok
    for one in here:
        other = record.latest(one.signature, local.records)
        assert (other.metrics, other.checkpoint, other.code) == (one.metrics, one.checkpoint, one.code)


def test_a_failure_blocks_what_stands_behind_it(debug, make_plan):
    plan = make_plan({"a": ("train", [], {"raise_at": 1}), "b": ("evaluate", ["a"], {}), "c": ("train", [], {})})
    launched = run(debug, plan)
    a, b, c = plan.stages
    assert list(launched.failed) == [a]
    assert list(launched.blocked) == [b]
    assert launched.finished == [c]
    assert status(plan, debug.cluster, records=debug.records)[a].reason.startswith("ValueError")
    (debug.root / a / "repaired").touch()
    assert run(debug, plan, retry=True).finished == [a, b]
