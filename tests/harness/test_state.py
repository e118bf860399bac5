"""States: which evidence beats which, what has to run, and how lost weights are found out."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from repro.errors import PlanError
from repro.harness import availability, record, state
from repro.harness.claim import Claim
from repro.harness.launch import payload
from repro.harness.plan import Cell, Plan, Stage
from repro.harness.record import Record
from repro.harness.state import Observation, StageState, Submission
from repro.harness.work import Work

ENCODER, TRAIN, EVALUATE = "a" * 12, "b" * 12, "c" * 12


@dataclass(frozen=True)
class Job:
    """A row of a queue."""

    job: str
    state: str
    reason: str = ""

    @property
    def live(self) -> bool:
        return self.state in ("PENDING", "RUNNING")

    @property
    def running(self) -> bool:
        return self.state == "RUNNING"


class Disk:
    """A plan of three stages in a row, and what lies on the disk."""

    def __init__(self, root: Path) -> None:
        self.root, self.records = root / "output", root / "records"
        stages = [
            Stage(ENCODER, "encoder", "encoder", "the encoder", "e.py", {}, 0),
            Stage(TRAIN, "train", "train", "the training", "t.py", {}, 0, {"encoder": ENCODER}),
            Stage(EVALUATE, "evaluate", "evaluate", "the evaluation", "v.py", {}, 0, {"train": TRAIN}),
        ]
        cell = Cell("row", "column", 0, "coco_box.AP", (ENCODER, TRAIN, EVALUATE))
        self.plan = Plan("test/table1", "0", "tiny", {s.signature: s for s in stages}, (cell,))

    def work(self, signature: str) -> Work:
        return Work(self.plan.stages[signature], self.root, self.records)

    def measure(self, signature: str, content: str = "weights") -> Record:
        stage, folder = self.plan.stages[signature], self.root / signature
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model_final.pth").write_text(content)
        (folder / "stage.json").write_text(json.dumps({"label": stage.label}))
        made = Record(
            **{name: getattr(stage, name) for name in record.STAGE},
            metrics={"AP": 1.0},
            code={},
            seconds=1.0,
            started="2026-01-01",
            finished="2026-01-01",
            checkpoint=None if stage.kind == "evaluate" else record.describe(folder / "model_final.pth", folder),
        )
        record.write(made, self.records)
        return made

    def states(self, queue=None, submissions=None, **more) -> dict[str, StageState]:
        return state.survey(self.plan, self.root, self.records, Observation(queue or {}, submissions or {}), **more)

    def names(self, *args, **more) -> list[str]:
        return [one.state for one in self.states(*args, **more).values()]

    def to_run(self, **more) -> list[str]:
        return list(state.to_run(self.plan, self.states(), **more))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_nothing_there_is_to_run(disk):
    assert disk.names() == ["to run"] * 3
    assert disk.to_run() == [ENCODER, TRAIN, EVALUATE]


def test_measured_and_here_is_available_and_elsewhere_is_recorded(disk):
    disk.measure(ENCODER)
    disk.measure(TRAIN)
    (disk.root / TRAIN / "model_final.pth").unlink()
    assert disk.names() == ["available", "recorded", "to run"]


def test_a_live_job_beats_the_record_and_the_record_beats_a_dead_job(disk):
    disk.measure(ENCODER)
    assert disk.names({ENCODER: Job("1", "RUNNING")})[0] == "running"
    assert disk.names({ENCODER: Job("1", "PENDING", "BeginTime")})[0] == "pending"
    assert disk.names({ENCODER: Job("1", "FAILED")})[0] == "available"


def test_a_live_job_beats_an_old_failure_and_a_failure_beats_the_queues_last_word(disk):
    payload.write_failure(disk.work(ENCODER), "ValueError", "the loss is nan\nsecond line")
    assert disk.names({ENCODER: Job("1", "PENDING")})[0] == "pending"
    failed = disk.states({ENCODER: Job("1", "COMPLETED")})[ENCODER]
    assert (failed.state, failed.reason) == ("failed", "ValueError: the loss is nan")


def test_what_stands_behind_a_failure_is_blocked_with_the_reason(disk):
    payload.write_failure(disk.work(ENCODER), "ValueError", "the loss is nan")
    states = disk.states()
    assert (states[TRAIN].state, states[EVALUATE].state) == ("blocked", "blocked")
    assert "the encoder failed: ValueError: the loss is nan" in states[TRAIN].reason
    assert disk.to_run() == []
    assert disk.to_run(retry=True) == [ENCODER, TRAIN, EVALUATE]
    assert set(state.blocked_by(disk.plan, states, {})) == {TRAIN, EVALUATE}


def test_a_job_that_the_queue_saw_die_without_a_word_is_failed(disk):
    dead = disk.states({ENCODER: Job("7_1", "OUT_OF_MEMORY", "OutOfMemory")})[ENCODER]
    assert (dead.state, dead.reason) == ("failed", "job 7_1 ended as OUT_OF_MEMORY (OutOfMemory)")


def test_what_submitit_kept_of_a_failure_counts_when_nothing_stronger_is_there(disk):
    kept = {ENCODER: Submission("7", time.time() - 999, "UnpicklingError: no module")}
    assert disk.states({}, kept)[ENCODER].reason == "UnpicklingError: no module"
    assert disk.names({ENCODER: Job("7", "RUNNING")}, kept)[0] == "running"


def test_a_job_without_a_trace_is_pending_for_a_moment_and_then_vanished(disk):
    young = {ENCODER: Submission("7", time.time() - 5)}
    assert disk.names({}, young, grace=60.0)[0] == "pending"
    gone = disk.states({}, young, grace=1.0)[ENCODER]
    assert gone.state == "vanished"
    assert "job 7" in gone.reason
    assert next(iter(state.to_run(disk.plan, disk.states({}, young, grace=1.0)))) == ENCODER  # and is run again


def test_files_that_are_wanted_are_made_again_although_all_is_recorded(disk):
    for signature in (ENCODER, TRAIN, EVALUATE):
        disk.measure(signature)
    for signature in (ENCODER, TRAIN):
        (disk.root / signature / "model_final.pth").unlink()
    assert disk.to_run() == []
    disk.plan = dataclasses.replace(disk.plan, keep=frozenset({TRAIN}))
    assert disk.to_run() == [ENCODER, TRAIN]  # the training starts from the encoder's files; the evaluation is done
    disk.measure(TRAIN)
    assert disk.to_run() == []


def test_a_cancelled_stage_is_to_run_and_is_not_taken_for_a_failure(disk):
    payload.mark_cancelled(disk.root / ENCODER)
    for queue in ({}, {ENCODER: Job("7", "CANCELLED")}, {ENCODER: Job("7", "FAILED")}):
        one = disk.states(queue, {ENCODER: Submission("7", time.time() - 999)})[ENCODER]
        assert (one.state, one.reason) == ("to run", "cancelled")
    payload.clear_cancelled(disk.root / ENCODER)
    assert disk.states({ENCODER: Job("7", "CANCELLED")})[ENCODER].reason == "cancelled in the queue"


def test_a_living_holder_is_running_with_its_progress_and_a_dead_one_has_vanished(disk):
    held = Claim.acquire(disk.root / ENCODER)
    (disk.root / ENCODER / "progress.json").write_text('{"iteration": 3, "iterations": 9, "eta_seconds": 6.0}')
    running = disk.states()[ENCODER]
    assert (running.state, running.attempt, running.progress["eta_seconds"]) == ("running", 1, 6.0)
    assert str(os.getpid()) in running.job
    assert disk.to_run() == [TRAIN, EVALUATE]
    held.release("stopped")
    assert disk.states()[ENCODER].reason == "stopped; goes on from its last checkpoint"
    dead = replace(Claim.acquire(disk.root / ENCODER).attempt, pid=2**22 + 1)
    (disk.root / ENCODER / "attempts" / "2.json").write_text(json.dumps(dead.__dict__))
    vanished = disk.states()[ENCODER]
    assert (vanished.state, vanished.attempt) == ("vanished", 2)


def test_a_recorded_end_needs_nothing_and_a_missing_one_needs_its_parents_here(disk):
    for signature in (ENCODER, TRAIN, EVALUATE):
        disk.measure(signature)
    for signature in (ENCODER, TRAIN):
        (disk.root / signature / "model_final.pth").unlink()
    assert disk.names() == ["recorded", "recorded", "available"]
    assert disk.to_run() == []
    (disk.records / f"{EVALUATE}.json").unlink()
    reasons = state.to_run(disk.plan, disk.states())
    assert list(reasons) == [ENCODER, TRAIN, EVALUATE]
    assert reasons[TRAIN] == "recorded, but its files are not here and the evaluation needs them"
    (disk.root / TRAIN / "model_final.pth").write_text("weights")
    assert disk.to_run() == [EVALUATE]


def test_other_weights_of_the_same_size_are_found_out_when_used_and_remembered(disk):
    made = disk.measure(ENCODER, "weights")
    output = disk.root / ENCODER
    assert availability.verified([made], output) == made
    assert disk.names()[0] == "available"
    (output / "model_final.pth").write_text("weighty")
    assert disk.names()[0] == "available"  # a look compares sizes
    assert availability.verified([made], output) is None  # a use reads
    assert disk.names()[0] == "recorded"  # and what it found is known from then on
    (output / "model_final.pth").write_text("short")
    assert disk.names()[0] == "recorded"
    again = disk.measure(ENCODER, "second run")
    assert availability.verified([made, again], output) == again
    assert disk.names()[0] == "available"


def test_a_stage_is_found_by_signature_beginning_or_label(disk):
    assert state.find(disk.plan, "bbb").name == "train"
    assert state.find(disk.plan, "the training").signature == TRAIN
    with pytest.raises(PlanError, match="Did you mean the training"):
        state.find(disk.plan, "the trainin")


def test_a_survey_of_many_stages_lists_no_folder(disk, monkeypatch):
    for signature in (ENCODER, TRAIN):
        disk.measure(signature)

    def refuse(*args, **kwargs):
        raise AssertionError("a folder was listed")

    for module, name in ((os, "listdir"), (os, "scandir"), (Path, "iterdir"), (Path, "glob"), (Path, "rglob")):
        monkeypatch.setattr(module, name, refuse)
    assert disk.names() == ["available", "available", "to run"]
