"""Garbage: what no plan needs goes, and nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from repro.harness import gc, record
from repro.harness.claim import Claim
from repro.harness.plan import Plan, Stage
from repro.harness.record import Record

FAILED, TRAIN = "a" * 12, "b" * 12


def test_garbage_is_what_no_plan_needs(tmp_path: Path):
    root, records = tmp_path / "output", tmp_path / "records"
    stages = [Stage(signature, "train", "train", "the training", "t.py", {}, 0) for signature in (FAILED, TRAIN)]
    plan = Plan("test/table1", "0", "tiny", {stage.signature: stage for stage in stages}, ())
    for signature in (FAILED, TRAIN, "d" * 12):
        (root / signature).mkdir(parents=True)
        (root / signature / "stage.json").write_text('{"label": "the training"}')
        (root / signature / "model_final.pth").write_bytes(b"x" * 50)
        (root / signature / "checkpoint_0000001.pth").write_bytes(b"x" * 100)
    _record(stages[1], root, records)
    running = Claim.acquire(root / ("e" * 12))
    (root / "datasets").mkdir()
    (root / "f00000000000").mkdir()  # not ours: nothing of a stage in it

    found = gc.gc([plan], root, records=records, dry_run=True)
    stray = sum(path.stat().st_size for path in (root / ("d" * 12)).iterdir())
    # The failed stage still needs its periodic checkpoint; the finished one does not.
    assert {(one.path.parent.name, one.path.name, one.bytes) for one in found} == {
        (TRAIN, "checkpoint_0000001.pth", 100),
        ("output", "d" * 12, stray),
    }
    assert "no plan names it (the training)" in {one.reason for one in found}
    assert (root / ("d" * 12)).exists()
    gc.gc([plan], root, records=records)
    assert {path.name for path in root.iterdir()} == {FAILED, TRAIN, "e" * 12, "datasets", "f00000000000"}
    assert sorted(path.name for path in (root / TRAIN).iterdir()) == ["model_final.pth", "stage.json"]
    gc.gc([], root, records=records)  # without a plan nothing is needed
    running.release("finished")
    assert {path.name for path in root.iterdir()} == {"e" * 12, "datasets", "f00000000000"}
    assert len(list(records.iterdir())) == 1


def test_frozen_code_goes_when_nobody_used_it_for_long(tmp_path: Path):
    for name, days in (("new", 1), ("old", 40), (".making-1-2", 2), (".making-3-4", 0)):
        folder = tmp_path / "code" / name
        folder.mkdir(parents=True)
        then = time.time() - days * gc.DAY
        os.utime(folder, (then, then))
    gc.gc([], tmp_path, records=tmp_path)
    assert {path.name for path in (tmp_path / "code").iterdir()} == {"new", ".making-3-4"}


def test_submissions_go_with_the_last_of_their_stages(tmp_path: Path):
    (tmp_path / TRAIN).mkdir()
    for name, stage, days in (("kept", TRAIN, 40), ("gone", FAILED, 40), ("new", FAILED, 0)):
        folder = tmp_path / "batches" / name
        folder.mkdir(parents=True)
        (folder / "1_0_log.out").write_text("hello")
        folder.with_suffix(".job").write_text("1")
        folder.with_suffix(".json").write_text(json.dumps({"elements": {"0": FAILED, "1": stage}}))
        then = time.time() - days * gc.DAY
        os.utime(folder.with_suffix(".json"), (then, then))
    gc.gc([], tmp_path, records=tmp_path)
    left = {f"{name}{suffix}" for name in ("kept", "new") for suffix in ("", ".job", ".json")}
    assert {path.name for path in (tmp_path / "batches").iterdir()} == left


def test_stages_that_were_run_for_others_are_kept(tmp_path: Path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for signature, file, records in (
        ("a" * 12, "stage.json", theirs),
        ("b" * 12, "work.json", theirs),  # queued, and never started
        ("c" * 12, "stage.json", ours),
        ("d" * 12, "stage.json", tmp_path / "removed"),
    ):
        folder = tmp_path / "out" / signature
        folder.mkdir(parents=True)
        (folder / file).write_text(json.dumps({"records": str(records)}))
    theirs.mkdir()
    gc.gc([], tmp_path / "out", records=ours)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a" * 12, "b" * 12}


def _record(stage: Stage, root: Path, records: Path) -> None:
    about = {name: getattr(stage, name) for name in record.STAGE}
    weights = record.describe(root / stage.signature / "model_final.pth", root / stage.signature)
    made = Record(**about, metrics={}, code={}, seconds=1.0, started="", finished="", checkpoint=weights)
    record.write(made, records)
