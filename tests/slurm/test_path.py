"""A paper's table through SLURM, disturbed on the way, ends with what an undisturbed run in this process measures."""

from pathlib import Path

import pytest

from repro.harness import launch as launching
from repro.harness import plan as planning
from repro.harness import record, table
from repro.harness.cluster import Cluster

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan():
    from repro.engine.config import resolve

    return planning.plan(table.load("detreg/table5"), resolve, "smoke", rows=["detreg"], columns=["1%"])


def test_table_through_slurm_equals_the_run_in_this_process(slurm, plan, tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_OUTPUT", str(tmp_path / "data"))
    here = Cluster(name="here", executor="debug", output_root=tmp_path / "here", allow_dirty=True)
    there = Cluster(
        name="there",
        executor="slurm",
        output_root=tmp_path / "there",
        poll_seconds=0.3,
        allow_dirty=True,
        defaults={"timeout_min": 30, "slurm_partition": "debug"},
    )
    assert launching.launch(plan, here, records=tmp_path / "r1", project=ROOT).ok
    jobs = launching.launch(plan, there, records=tmp_path / "r2", project=ROOT).jobs
    kinds = {stage.kind: signature for signature, stage in plan.stages.items()}
    disturbances = {"pretrain": ("scontrol", "requeue"), "finetune": ("scancel", "--signal=USR2")}
    for kind, command in disturbances.items():
        started = tmp_path / "there" / kinds[kind] / "attempts" / "1.json"
        slurm.until(started.exists, f"the start of {kind}")
        slurm(*command, jobs[kinds[kind]])
    assert launching.launch(plan, there, records=tmp_path / "r2", project=ROOT, wait=True).ok

    for signature, stage in plan.stages.items():
        (expected,), (found,) = (record.read(signature, tmp_path / folder) for folder in ("r1", "r2"))
        assert found.metrics == expected.metrics
        assert found.files() == expected.files()  # the very same weights, proposals and detections
        assert slurm.restarts(jobs[signature]) == (1 if stage.kind in disturbances else 0)
