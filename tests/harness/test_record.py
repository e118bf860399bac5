"""Records: written once by many, read by name, verified and merged."""

from __future__ import annotations

import json
import math
import multiprocessing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from repro.errors import RecordError
from repro.harness import record
from repro.harness.plan import Stage
from repro.harness.record import Record
from repro.harness.signature import signature
from repro.harness.work import Work


def make(seed: int = 0, ap: float = 14.58, **more) -> Record:
    recipe = {"optimizer": {"lr": 2e-4}, "revision": 1}
    return Record(
        signature=signature("finetune", recipe, seed, {"encoder": "0" * 12}, {"coco": "abc"}),
        kind="finetune",
        label="detreg/table5 DETReg 1%",
        scale="tiny",
        recipe=recipe,
        seed=seed,
        parents={"encoder": "0" * 12},
        datasets={"coco": "abc"},
        metrics={"AP": ap},
        code={"commit": "f" * 40, "dirty": False},
        seconds=12.5,
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:01:00+00:00",
        **more,
    )


def test_what_is_written_is_read(tmp_path: Path):
    one = make(checkpoint={"file": "model_final.pth", "sha256": "0" * 64, "bytes": 3}, hardware={"gpus": 8})
    path = record.write(one, tmp_path / "records")
    assert path.name == f"{one.signature}.json"
    assert record.read(one.signature, tmp_path / "records") == [one]
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file stays


def test_a_repeat_gets_the_next_number_and_overwrites_nothing(tmp_path: Path):
    paths = [record.write(make(ap=ap), tmp_path) for ap in (1.0, 2.0, 3.0)]
    assert [p.name.partition(".")[2] for p in paths] == ["json", "1.json", "2.json"]
    found = record.read(make().signature, tmp_path)
    assert [(r.metrics["AP"], r.n) for r in found] == [(1.0, 0), (2.0, 1), (3.0, 2)]
    assert record.latest(make().signature, tmp_path).metrics == {"AP": 3.0}


def test_an_unknown_signature_has_no_records(tmp_path: Path):
    assert record.read("0" * 12, tmp_path / "nowhere") == []
    assert record.latest("0" * 12, tmp_path) is None
    assert not record.exists("0" * 12, tmp_path)


def test_a_value_that_does_not_exist_is_null_in_the_file_and_nan_in_memory(tmp_path: Path):
    path = record.write(make(ap=math.nan), tmp_path)
    assert json.loads(path.read_text())["metrics"] == {"AP": None}
    assert math.isnan(record.latest(make().signature, tmp_path).metrics["AP"])


def _write_many(folder: Path, value: int) -> list[str]:
    return [record.write(make(ap=float(value * 100 + i)), folder).name for i in range(10)]


def test_many_writers_of_one_signature_lose_nothing(tmp_path: Path):
    with multiprocessing.get_context("fork").Pool(8) as pool:
        names = [name for part in pool.starmap(_write_many, [(tmp_path, v) for v in range(8)]) for name in part]
    assert len(set(names)) == 80
    found = record.read(make().signature, tmp_path)
    assert sorted(r.metrics["AP"] for r in found) == sorted(float(v * 100 + i) for v in range(8) for i in range(10))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: "{", "is not a record"),
        (lambda c: json.dumps([1]), "a JSON object was expected"),
        (lambda c: json.dumps({**c, "schema": 9}), "schema 9; this version reads 1"),
        (lambda c: json.dumps({**c, "seed": "0"}), "seed: int was expected, not '0'"),
        (lambda c: json.dumps({k: v for k, v in c.items() if k != "metrics"}), "metrics is missing"),
        (lambda c: json.dumps({**c, "metrics": {"AP": "14"}}), "metrics.AP is not a number"),
        (lambda c: json.dumps({**c, "metric": {}}), "unknown key 'metric'. Did you mean metrics?"),
        (lambda c: json.dumps({**c, "origin": "retraind"}), "Did you mean retrained?"),
    ],
)
def test_a_malformed_record_is_named_with_its_fault(tmp_path: Path, change, message: str):
    path = record.write(make(), tmp_path)
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(RecordError) as error:
        record.read(make().signature, tmp_path)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert len(record.verify(tmp_path)) == 1


def test_all_faults_of_a_record_are_told_at_once(tmp_path: Path):
    path = record.write(make(), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": "0", "kind": 3}))
    with pytest.raises(RecordError, match=r"(?s)kind: str.*seed: int"):
        record.read(make().signature, tmp_path)


def test_verify_finds_edits_strangers_gaps_and_copies(tmp_path: Path):
    good = record.write(make(seed=1), tmp_path)
    assert record.verify(tmp_path) == []
    content = json.loads(good.read_text())
    content["recipe"]["optimizer"]["lr"] = 1e-4
    (tmp_path / f"{content['signature']}.1.json").write_text(json.dumps(content))
    (tmp_path / "0123456789ab.json").write_text(good.read_text())
    (tmp_path / f"{content['signature']}.3.json").write_text(make(seed=1, ap=1.0).to_json())
    faults = "\n".join(record.verify(tmp_path))
    assert "it was edited" in faults
    assert f"0123456789ab.json: holds the record of {content['signature']}" in faults
    assert "2.json is missing" in faults
    assert "the same measurement as 0123456789ab.json" in faults


def test_merge_copies_skips_and_keeps_what_differs(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    record.write(make(seed=1), source)
    record.write(make(seed=2), source)
    record.write(make(seed=2), target)
    record.write(make(seed=3, ap=1.0), source)
    record.write(make(seed=3, ap=2.0), target)
    assert record.merge(source, target) == {"copied": 1, "skipped": 1, "differing": 1}
    first, second = record.read(make(seed=3).signature, target)
    assert (first.metrics["AP"], second.metrics["AP"]) == (2.0, 1.0)
    assert "differ" in second.remark
    assert record.verify(target) == []
    assert record.merge(source, target) == {"copied": 0, "skipped": 3, "differing": 0}


def test_merge_refuses_a_folder_with_a_contradiction_whole(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    record.write(make(seed=1), source)
    record.write(replace(make(seed=2), seed=5), source)
    with pytest.raises(RecordError, match="was edited"):
        record.merge(source, target)
    assert not target.exists()


def test_the_record_of_a_stage_repeats_what_was_planned(tmp_path: Path):
    stage = Stage("a" * 12, "train", "train", "a label", "a.py", {"x": 1}, 7, {"encoder": "b" * 12}, {"d": "e"}, "tiny")
    work = Work(stage, tmp_path, tmp_path / "records", code={"commit": "c", "dirty": True}, attempt=3)
    made = record.of(
        work, metrics={"AP": 1.0}, started=datetime.now(UTC), seconds=2.0, hardware={"gpu": "H200", "gpus": 1}
    )
    assert (made.signature, made.recipe, made.parents, made.attempts) == ("a" * 12, {"x": 1}, {"encoder": "b" * 12}, 3)
    assert made.hardware["gpu"] == "H200"
    assert made.hardware["cores"] >= 1
    assert made.versions["numpy"]
    assert record.read("a" * 12, record.write(made, work.records).parent) == [made]
