"""Work travels as JSON and comes out as it went in."""

from pathlib import Path

from repro.harness.plan import Stage
from repro.harness.work import Work


def test_work_survives_the_way_to_a_job():
    stage = Stage(
        "a" * 12, "finetune", "finetune", "a ± label", "a.py", {"lr": 2e-4}, 7, {"pretrain": "b" * 12}, {}, "tiny"
    )
    work = Work(stage, Path("/out"), Path("/records"), Path("/data"), {"commit": "c", "dirty": True}, 2, "cuda:1")
    assert Work.from_json(work.to_json()) == work
    assert "\n" not in work.to_json()  # one line a work
    assert Work.from_json(Work(stage, Path("/out"), Path("/records")).to_json()).datasets_root is None


def test_folders_follow_from_signatures():
    stage = Stage("a" * 12, "finetune", "finetune", "label", "a.py", {}, 7, {"pretrain": "b" * 12}, {}, "tiny")
    work = Work(stage, Path("/out"), Path("/records"))
    assert work.output == Path("/out") / ("a" * 12)
    assert work.parent_output("pretrain") == Path("/out") / ("b" * 12)
