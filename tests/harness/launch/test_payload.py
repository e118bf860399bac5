"""What a job does: every ending written down, signals taken rightly, one process a stage."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from repro.harness import claim, record, state
from repro.harness.claim import Claim, HeldError
from repro.harness.launch import payload
from repro.harness.work import Work

ENTRY = "fake_engine:run"


@pytest.fixture
def engine(world, monkeypatch):
    monkeypatch.syspath_prepend(str(world.project))
    yield world
    sys.modules.pop("fake_engine", None)


def work(world, plan, name: str) -> Work:
    stage = next(stage for stage in plan.stages.values() if stage.name == name)
    return Work(stage, world.root, world.records)


def failure(one: Work) -> dict:
    return json.loads((one.output / "failure.json").read_text())


def test_a_stage_leaves_its_description_its_record_and_a_finished_attempt(engine, make_plan):
    plan = make_plan({"a": ("train", [], {"steps": 2})})
    one = work(engine, plan, "a")
    assert payload.execute(one, ENTRY) == "ran"
    about = json.loads((one.output / "stage.json").read_text())
    assert (about["signature"], about["recipe"]) == (one.stage.signature, {"steps": 2})
    assert about["records"] == str(one.records)  # `repro gc` leaves alone what was run for other records
    assert claim.last(one.output).state == "finished"
    assert payload.execute(one, ENTRY) == "recorded"
    assert len(engine.notes("starts")) == claim.last(one.output).number == 1  # not even an attempt


@pytest.mark.parametrize(
    ("recipe", "error", "message"),
    [({"raise_at": 1}, "ValueError", "the loss is not finite"), ({"exit_at": 1}, "SystemExit", "sys.exit(3)")],
)
def test_whatever_a_stage_raises_becomes_a_failure_file_and_a_runtime_error(engine, make_plan, recipe, error, message):
    one = work(engine, make_plan({"a": ("train", [], recipe)}), "a")
    with pytest.raises(RuntimeError, match=r"test a"):
        payload.execute(one, ENTRY)
    left = failure(one)
    assert (left["signature"], left["label"], left["error"], left["attempt"]) == (
        one.stage.signature,
        "test a",
        error,
        1,
    )
    assert message in left["message"]
    assert "fake_engine.py" in left["traceback"]
    assert claim.last(one.output).state == "failed"
    with pytest.raises(RuntimeError):
        payload.execute(one, ENTRY)
    assert failure(one)["attempt"] == 2
    assert json.loads((one.output / "failure.1.json").read_text())["attempt"] == 1


def test_an_entry_that_records_nothing_has_failed(engine, make_plan):
    one = work(engine, make_plan({"a": ("train", [], {})}), "a")
    with pytest.raises(RuntimeError, match="without writing a record"):
        payload.execute(one, "builtins:id")
    with pytest.raises(RuntimeError, match="no_such"):
        payload.execute(one, "no_such.module:run")
    assert failure(one)["error"] == "ModuleNotFoundError"


def test_a_stage_whose_parent_is_not_there_says_so_and_is_blocked(engine, make_plan):
    plan = make_plan({"a": ("train", [], {"raise_at": 1}), "b": ("evaluate", ["a"], {})})
    parent, child = work(engine, plan, "a"), work(engine, plan, "b")
    with pytest.raises(RuntimeError, match="has no record"):
        payload.execute(child, ENTRY)
    with pytest.raises(RuntimeError):
        payload.execute(parent, ENTRY)
    with pytest.raises(RuntimeError, match="it failed with ValueError: the loss is not finite"):
        payload.execute(child, ENTRY)
    assert failure(child)["blocked"]
    assert state.look(child.stage, engine.root, engine.records).state == "blocked"


def test_a_stage_does_not_start_from_weights_that_are_not_those_recorded(engine, make_plan):
    plan = make_plan({"a": ("train", [], {}), "b": ("evaluate", ["a"], {})})
    parent, child = work(engine, plan, "a"), work(engine, plan, "b")
    payload.execute(parent, ENTRY)
    weights = parent.output / "model_final.pth"
    weights.write_text(weights.read_text().replace("1", "2"))
    with pytest.raises(RuntimeError, match="not those recorded"):
        payload.execute(child, ENTRY)
    assert state.look(parent.stage, engine.root, engine.records).state == "recorded"
    (parent.output / "checkpoint.json").unlink()
    payload.execute(parent, ENTRY)
    assert len(record.read(parent.stage.signature, engine.records)) == 2
    assert payload.execute(child, ENTRY) == "ran"


def test_parents_are_waited_for_where_files_come_late(engine, make_plan):
    plan = make_plan({"a": ("train", [], {}), "b": ("evaluate", ["a"], {})})
    child = work(engine, plan, "b")
    late = threading.Timer(0.5, payload.execute, [work(engine, plan, "a"), ENTRY])
    late.start()
    assert payload.execute(child, ENTRY, patience=20.0) == "ran"
    late.join()


def test_every_task_waits_for_parents_whose_files_come_late(engine, make_plan, slurm_task):
    plan = make_plan({"a": ("train", [], {}), "b": ("evaluate", ["a"], {})})
    parent, child = work(engine, plan, "a"), work(engine, plan, "b")
    payload.execute(parent, ENTRY)
    weights, hidden = parent.output / "model_final.pth", parent.output / "hidden"
    weights.rename(hidden)
    slurm_task(NTASKS="2", PROCID="1", LOCALID="1", JOB_ID="5", STEP_NODELIST="n1")
    with pytest.raises(RuntimeError, match="lacks its files"):
        payload.execute(child, ENTRY, distributed=True)
    late = threading.Timer(0.5, hidden.rename, [weights])
    late.start()
    assert payload.execute(child, ENTRY, distributed=True, patience=20.0) == "ran"
    late.join()


def test_a_stage_that_somebody_runs_is_not_run_twice(engine, make_plan):
    one = work(engine, make_plan({"a": ("train", [], {})}), "a")
    held = Claim.acquire(one.output)
    with pytest.raises(HeldError):
        payload.execute(one, ENTRY)
    assert not (one.output / "failure.json").exists()
    threading.Timer(0.5, held.release, ["stopped"]).start()
    assert payload.execute(one, ENTRY, patience=20.0) == "ran"


def test_a_stage_that_ended_while_we_waited_for_it_is_not_run_again(engine, make_plan, monkeypatch):
    one = work(engine, make_plan({"a": ("train", [], {})}), "a")
    acquire = payload._acquire

    def late(work: Work, patience: float) -> Claim:
        monkeypatch.setattr(payload, "_acquire", acquire)
        assert payload.execute(work, ENTRY) == "ran"  # somebody else, between our look and our claim
        return acquire(work, patience)

    monkeypatch.setattr(payload, "_acquire", late)
    assert payload.execute(one, ENTRY) == "recorded"
    assert len(engine.notes("starts")) == 1


def test_of_many_processes_one_runs_the_stage(engine, make_plan):
    one = work(engine, make_plan({"a": ("train", [], {"seconds": 0.3})}), "a")
    with multiprocessing.get_context("fork").Pool(6) as pool:
        said = pool.map(_attempt, [one.to_json()] * 6)
    assert said.count("ran") == 1
    assert set(said) <= {"ran", "held", "recorded"}
    assert len(record.read(one.stage.signature, engine.records)) == 1


def _attempt(text: str) -> str:
    try:
        return payload.execute(Work.from_json(text), ENTRY)
    except HeldError:
        return "held"


def in_process(world, one: Work, call: str) -> subprocess.Popen:
    script = textwrap.dedent(f"""
        import os, signal, sys, time
        from repro.harness.launch import payload
        from repro.harness.work import Work
        work = Work.from_json({one.to_json()!r})
        {call}
    """)
    environment = os.environ | {"PYTHONPATH": str(world.project)}
    return subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)


def until(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def test_sigterm_stops_a_queued_stage_only_if_it_was_cancelled(world, make_plan):
    one = work(world, make_plan({"a": ("train", [], {"steps": 100, "seconds": 0.05})}), "a")
    process = in_process(world, one, f"payload.execute(work, {ENTRY!r}, on_terminate='stop if cancelled')")
    until(one.output / "checkpoint.json")
    process.terminate()  # the start of a preemption's grace, perhaps
    time.sleep(0.3)
    assert process.poll() is None
    payload.mark_cancelled(one.output)
    process.terminate()
    assert process.wait(20) == 143
    assert "SIGTERM ignored" in process.stdout.read()
    assert not (one.output / "failure.json").exists()
    assert claim.last(one.output).state == "stopped"


def test_a_job_that_is_handed_back_to_the_queue_has_not_failed(world, make_plan):
    one = work(world, make_plan({"a": ("train", [], {"steps": 100, "seconds": 0.05})}), "a")
    handler = "signal.signal(signal.SIGUSR2, lambda *a: sys.exit(-1))\n        "
    process = in_process(world, one, handler + f"payload.execute(work, {ENTRY!r}, distributed=True)")
    until(one.output / "checkpoint.json")
    process.send_signal(signal.SIGUSR2)
    assert process.wait(20) == 255
    assert not (one.output / "failure.json").exists()
    assert claim.last(one.output).state == "requeued"


def test_children_of_a_job_are_deaf_to_the_queues_signals(world, make_plan):
    """Each data-loader worker that inherited submitit's handler would hand the job back to the queue."""
    one = work(world, make_plan({"a": ("train", [], {})}), "a")
    process = in_process(
        world,
        one,
        "for number in (signal.SIGUSR2, signal.SIGCONT, signal.SIGTERM):\n"
        "            signal.signal(number, lambda *a: print('caught', flush=True))\n"
        "        payload.guard_forks(); payload.guard_forks()\n"
        "        child = os.fork()\n"
        "        if child == 0:\n"
        "            print(os.getpid(), flush=True); time.sleep(60); os._exit(1)\n"
        "        print(os.waitpid(child, 0)[1], flush=True)",
    )
    child = int(process.stdout.readline())
    os.kill(child, signal.SIGUSR2)
    os.kill(child, signal.SIGCONT)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    assert process.stdout.read().split() == [str(int(signal.SIGTERM))]
    assert process.wait(20) == 0


def test_the_first_task_to_fail_is_the_cause(engine, make_plan):
    one = work(engine, make_plan({"a": ("train", [], {})}), "a")
    assert payload.write_failure(one, "ValueError", "first")
    assert not payload.write_failure(one, "ConnectionError", "because of the first")
    assert failure(one)["message"] == "first"


def test_other_tasks_run_beside_the_first_without_a_claim_of_their_own(engine, make_plan, slurm_task):
    one = work(engine, make_plan({"a": ("train", [], {})}), "a")
    held = Claim.acquire(one.output)  # the first task's
    slurm_task(NTASKS="2", PROCID="1", LOCALID="1", JOB_ID="5", STEP_NODELIST="n1")
    assert payload.execute(one, ENTRY, distributed=True) == "ran"
    assert claim.last(one.output).number == 1
    held.release("finished")


def test_a_helper_leaves_claim_record_and_failure_to_the_stages_own_job(engine, make_plan):
    plan = make_plan({"a": ("train", [], {"raise_at": 1})})
    one = dataclasses.replace(work(engine, plan, "a"), share=(1, 2))
    assert Work.from_json(one.to_json()) == one and one.helps
    held = Claim.acquire(one.output)
    with pytest.raises(ValueError, match="the loss is not finite"):
        payload.assist(one, ENTRY)
    assert len(engine.notes("starts")) == 1
    assert not (one.output / "failure.json").exists()
    assert claim.last(one.output).number == 1
    held.release("finished")


def test_a_helper_that_comes_late_has_nothing_to_do(engine, make_plan):
    plan = make_plan({"a": ("train", [], {"steps": 1})})
    one = work(engine, plan, "a")
    payload.execute(one, ENTRY)
    assert payload.assist(dataclasses.replace(one, share=(1, 2)), ENTRY) == "recorded"
    assert len(engine.notes("starts")) == 1
