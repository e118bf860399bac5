"""Local launches with real worker processes: order, warmth, failures, crashes, kills and two launches at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from repro.errors import LaunchError
from repro.harness import record
from repro.harness.launch import Event, Launched, cancel, launch, local, logs, status
from repro.harness.plan import Plan

ENTRY = "fake_engine:run"
CHAIN = {
    "encoder": ("encoder", [], {}),
    "pretrain": ("pretrain", ["encoder"], {"steps": 3}),
    "finetune": ("finetune", ["pretrain"], {}),
    "evaluate": ("evaluate", ["finetune"], {}),
}


def run(world, plan: Plan, **more) -> Launched:
    more.setdefault("entry", ENTRY)
    return launch(plan, world.cluster, records=world.records, project=world.project, **more)


def signatures(plan: Plan, *names: str) -> list[str]:
    return [next(s.signature for s in plan.stages.values() if s.name == name) for name in names]


def test_stages_run_in_order_from_the_frozen_code_with_one_import_a_slot(world, make_plan):
    plan = make_plan(CHAIN | {"other": ("evaluate", ["encoder"], {})})
    events: list[Event] = []
    launched = run(world, plan, on_event=events.append)

    assert launched.ok
    assert set(launched.finished) == set(plan.stages)
    starts, ends = world.notes("starts"), world.notes("ends")
    started = {note["signature"]: note["time"] for note in starts}
    ended = {note["signature"]: note["time"] for note in ends}
    for stage in plan.stages.values():
        assert all(ended[parent] <= started[stage.signature] for parent in stage.parents.values())
    assert len(starts) == 5
    assert len({note["worker"] for note in starts}) <= 2  # a worker imports the engine once and keeps it
    assert all(Path(note["file"]).is_relative_to(world.root / "code") for note in starts)
    assert {note["threads"] for note in starts} == {str(max(1, len(os.sched_getaffinity(0)) // 2))}
    assert {note["gpu"] for note in starts} == {""}
    assert next(e.what for e in events if e.signature == launched.finished[0]) == "started"
    pretrain = signatures(plan, "pretrain")[0]
    assert "running test pretrain" in logs(plan, pretrain, world.cluster)[0].read_text()
    commit = subprocess.check_output(["git", "-C", world.project, "rev-parse", "HEAD"], text=True).strip()
    assert record.latest(pretrain, world.records).code == {"commit": commit, "dirty": False}
    assert {state.state for state in status(plan, world.cluster, records=world.records).values()} == {"available"}


def test_a_second_launch_does_nothing(world, make_plan):
    plan = make_plan(CHAIN)
    run(world, plan)
    again = run(world, plan)
    assert again.ok
    assert again.todo == {}
    assert len(world.notes("starts")) == 4


def test_a_dry_run_says_what_and_why_and_starts_nothing(world, make_plan):
    plan = make_plan(CHAIN)
    launched = run(world, plan, dry_run=True)
    assert launched.todo == dict.fromkeys(plan.stages, "never run")
    assert not list(world.root.iterdir())


def test_a_failure_stops_what_stands_behind_it_and_nothing_else(world, make_plan):
    plan = make_plan(
        {
            "bad": ("pretrain", [], {"raise_at": 1}),
            "child": ("finetune", ["bad"], {}),
            "grandchild": ("evaluate", ["child"], {}),
            "good": ("train", [], {}),
        }
    )
    bad, child, grandchild, good = signatures(plan, "bad", "child", "grandchild", "good")
    launched = run(world, plan)

    assert not launched.ok
    assert launched.finished == [good]
    assert list(launched.failed) == [bad]
    assert "ValueError: the loss is not finite" in launched.failed[bad]
    assert "test bad failed" in launched.blocked[child]
    assert "test child could not run" in launched.blocked[grandchild]
    assert not (world.root / child).exists()
    states = status(plan, world.cluster, records=world.records)
    assert states[bad].state == "failed"
    assert states[grandchild].state == "blocked"
    failure = json.loads((world.root / bad / "failure.json").read_text())
    assert failure["error"] == "ValueError"
    assert "trouble(recipe" in failure["traceback"]

    unchanged = run(world, plan)  # not asked to retry: still failed, and said again
    assert unchanged.todo == {}
    assert list(unchanged.failed) == [bad]
    assert set(unchanged.blocked) == {child, grandchild}

    (world.root / bad / "repaired").touch()
    retried = run(world, plan, retry=True)
    assert retried.ok
    assert retried.finished == [bad, child, grandchild]
    assert not (world.root / bad / "failure.json").exists()
    assert (world.root / bad / "failure.1.json").exists()
    assert record.latest(bad, world.records).attempts == 2


def test_a_crash_costs_its_stage_and_no_other(world, make_plan):
    plan = make_plan({"crash": ("train", [], {"kill_at": 1})} | {f"ok{i}": ("train", [], {}) for i in range(3)})
    world = replace(world, cluster=replace(world.cluster, slots=1))
    crash = signatures(plan, "crash")[0]
    launched = run(world, plan)
    assert "killed by SIGKILL" in launched.failed[crash]
    assert len(launched.finished) == 3
    assert "SIGKILL" in status(plan, world.cluster, records=world.records)[crash].reason
    assert run(world, plan, retry=True).ok


def test_an_entry_that_cannot_be_imported_ends_the_launch(world, make_plan):
    with pytest.raises(LaunchError, match="no_such_engine"):
        run(world, make_plan(CHAIN), entry="no_such_engine:run")


def test_a_time_limit_ends_a_stage(world, make_plan):
    plan = make_plan({"slow": ("train", [], {"seconds": 60.0})})
    world = replace(world, cluster=replace(world.cluster, stages={"train": {"timeout_min": 0.02}}))
    launched = run(world, plan)
    assert "longer than timeout_min" in next(iter(launched.failed.values()))
    assert status(plan, world.cluster, records=world.records)[launched.todo.popitem()[0]].state == "failed"


def test_each_slot_has_its_gpu(world, make_plan, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    plan = make_plan({f"s{i}": ("train", [], {"seconds": 0.4}) for i in range(2)})
    world = replace(world, cluster=replace(world.cluster, slots=0, gpus=2))
    assert run(world, plan).ok
    assert {note["gpu"] for note in world.notes("starts")} == {"4", "7"}


def test_the_longest_way_to_go_starts_first(world, make_plan):
    short = {f"short{i}": ("evaluate", [], {}) for i in range(3)}
    plan = make_plan(short | {"root": ("pretrain", [], {}), "leaf": ("finetune", ["root"], {})})
    world = replace(world, cluster=replace(world.cluster, slots=1))
    assert run(world, plan).ok
    order = [note["signature"] for note in world.notes("starts")]
    assert order[:2] == signatures(plan, "root", "leaf")
    lengths = local.lengths(plan)
    assert lengths[order[0]] > lengths[order[1]] > lengths[order[2]]


def launcher(world, plan_file: Path, tmp_path: Path, **settings) -> subprocess.Popen:
    """Start ``launch`` in a process of its own, as ``repro run`` would."""
    script = f"""
import dataclasses, json, pickle, sys
from pathlib import Path
from repro.harness.launch import launch
plan, cluster = pickle.loads(Path({str(plan_file)!r}).read_bytes())
done = launch(plan, cluster, records=Path({str(world.records)!r}), project=Path({str(world.project)!r}),
              entry={ENTRY!r}, on_event=lambda e: print(e.what, e.signature, e.reason, flush=True))
print("launched", json.dumps(dataclasses.asdict(done)), flush=True)
sys.exit(0 if done.ok else 1)
"""
    out = (tmp_path / f"launcher{random.random()}.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=out, stderr=subprocess.STDOUT, start_new_session=True
    )
    process.out = out  # type: ignore[attr-defined]
    return process


def dump(world, plan, tmp_path: Path) -> Path:
    import pickle

    path = tmp_path / "plan.pickle"
    path.write_bytes(pickle.dumps((plan, world.cluster)))
    return path


def test_killing_the_launcher_loses_no_finished_stage_and_repeats_none(world, make_plan, tmp_path):
    """SIGKILL at random moments, again and again, until a launch gets to the end."""
    stages = {}
    for chain in range(2):
        for depth in range(4):
            parents = [f"{chain}.{depth - 1}"] if depth else []
            stages[f"{chain}.{depth}"] = ("train", parents, {"steps": 4, "seconds": 0.05})
    plan = make_plan(stages)
    plan_file = dump(world, plan, tmp_path)
    moments = random.Random(3)
    kills = 0
    while kills < 6:
        process = launcher(world, plan_file, tmp_path)
        try:
            process.wait(moments.uniform(0.3, 1.1))
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert run(world, plan).ok
    assert kills >= 1
    ends = [note["signature"] for note in world.notes("ends")]
    for signature, stage in plan.stages.items():
        records = record.read(signature, world.records)
        assert len(records) == 1, stage.name  # recorded once
        assert records[0].metrics == {"sum": 10.0}  # steps 1 to 4, each counted once
        recorded = (world.records / f"{signature}.json").stat().st_mtime
        assert all(note["time"] <= recorded for note in world.notes("starts", signature)), stage.name  # never again
    # Between its last note and its record a stage may be killed, and end again; two run at a time.
    assert len(ends) <= len(plan.stages) + 2 * kills
    assert {state.state for state in status(plan, world.cluster, records=world.records).values()} == {"available"}


def test_workers_do_not_outlive_their_launcher(world, make_plan, tmp_path):
    plan = make_plan({"long": ("train", [], {"steps": 4000, "seconds": 0.05})})
    process = launcher(world, dump(world, plan, tmp_path), tmp_path)
    signature = next(iter(plan.stages))
    wait_for(lambda: (world.root / signature / "checkpoint.json").exists())
    worker = world.notes("starts")[0]["pid"]
    assert alive(worker)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not alive(worker))
    assert status(plan, world.cluster, records=world.records)[signature].state == "vanished"


def test_two_launches_at_once_share_the_work(world, make_plan, tmp_path):
    stages = {f"s{i}": ("train", [], {"steps": 3, "seconds": 0.1}) for i in range(4)}
    plan = make_plan(stages | {"last": ("evaluate", list(stages), {})})
    plan_file = dump(world, plan, tmp_path)
    both = [launcher(world, plan_file, tmp_path) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    starts = [note["signature"] for note in world.notes("starts")]
    assert sorted(starts) == sorted(plan.stages)
    said = []
    for process in both:
        process.out.seek(0)
        said.append(process.out.read())
    assert any("elsewhere" in text and "run by process" in text for text in said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_launch_and_its_workers(world, make_plan, tmp_path, number):
    plan = make_plan({"long": ("train", [], {"steps": 200, "seconds": 0.05})})
    process = launcher(world, dump(world, plan, tmp_path), tmp_path)
    signature = next(iter(plan.stages))
    wait_for(lambda: (world.root / signature / "checkpoint.json").exists())
    process.send_signal(number)
    assert process.wait(30) == 1
    process.out.seek(0)
    text = process.out.read()
    assert '"interrupted": true' in text
    assert f"stopped {signature}" in text
    state = status(plan, world.cluster, records=world.records)[signature]
    assert (state.state, state.attempt) == ("to run", 1)
    assert "checkpoint" in state.reason
    assert not alive(world.notes("starts")[0]["pid"])


def test_cancel_ends_a_stage_and_run_takes_it_up_again(world, make_plan, tmp_path):
    plan = make_plan({"long": ("train", [], {"steps": 30, "seconds": 0.05}), "child": ("evaluate", ["long"], {})})
    process = launcher(world, dump(world, plan, tmp_path), tmp_path)
    long, child = signatures(plan, "long", "child")
    wait_for(lambda: (world.root / long / "progress.json").exists())
    assert status(plan, world.cluster, records=world.records)[long].progress["iterations"] == 30
    assert cancel(plan, world.cluster, records=world.records) == [long]
    assert process.wait(30) == 1
    states = status(plan, world.cluster, records=world.records)
    assert (states[long].state, states[long].reason) == ("to run", "cancelled")
    steps = json.loads((world.root / long / "checkpoint.json").read_text())["step"]
    assert 0 < steps < 30
    assert run(world, plan).finished == [long, child]
    assert record.latest(long, world.records).metrics == {"sum": 465.0}


def test_lost_weights_are_made_again_only_when_they_are_needed(world, make_plan):
    plan = make_plan(CHAIN)
    encoder, pretrain, finetune = signatures(plan, "encoder", "pretrain", "finetune")
    assert run(world, plan).ok
    for signature in (encoder, pretrain, finetune):
        (world.root / signature / "model_final.pth").unlink()
    assert run(world, plan).todo == {}  # the last stage is recorded: nothing is needed
    more = make_plan(CHAIN | {"again": ("evaluate", ["pretrain"], {})})
    launched = run(world, more)
    again = signatures(more, "again")[0]
    assert launched.finished == [encoder, pretrain, again]
    assert len(record.read(pretrain, world.records)) == 2
    assert len(record.read(finetune, world.records)) == 1


def wait_for(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
