"""A propose stage shared by the elements of an array on a real SLURM, killed on the way."""

import pytest

from repro.data.proposals import Proposals
from repro.engine.config import resolve
from repro.harness import launch as launching
from repro.harness import record
from repro.harness.cluster import Cluster
from repro.harness.plan import Plan, Stage

from .conftest import ROOT

SHARDS = 16


@pytest.fixture
def plan():
    """One stage of sixteen images, a shard each, searched at full size so that they take a while."""
    resolved = resolve("detreg/propose_coco.py", {}, "smoke")
    resolved.recipe["propose"] |= {"shards": SHARDS, "size": None, "mode": "fast"}
    stage = Stage(
        signature="0123456789ab",
        kind="propose",
        name="propose",
        label="lab/propose",
        config="detreg/propose_coco.py",
        recipe=resolved.recipe,
        seed=0,
        parents={},
        datasets=resolved.datasets,
        scale="smoke",
    )
    return Plan(table="lab/table1", digest="0", scale="smoke", stages={stage.signature: stage}, cells=())


def test_helpers_share_a_stage_and_its_own_job_joins_and_records_it(slurm, plan, tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_OUTPUT", str(tmp_path / "data"))
    (signature,) = plan.stages
    here = Cluster(name="here", executor="debug", output_root=tmp_path / "here", allow_dirty=True)
    there = Cluster(
        name="there",
        executor="slurm",
        output_root=tmp_path / "there",
        poll_seconds=0.3,
        allow_dirty=True,
        defaults={"timeout_min": 30, "slurm_partition": "debug"},
        stages={"propose": {"array": 3}},
    )
    assert launching.launch(plan, here, records=tmp_path / "r1", project=ROOT).ok
    slurm("scontrol", "update", "partitionname=debug", "state=down")
    try:
        own = launching.launch(plan, there, records=tmp_path / "r2", project=ROOT).jobs[signature]
        array, _, index = own.partition("_")
        slurm("scontrol", "hold", own)  # the helpers do everything; none of them joins
    finally:
        slurm("scontrol", "update", "partitionname=debug", "state=up")
    output = tmp_path / "there" / signature

    def done():
        return len(list(output.glob("*.shards/*.npz")))

    slurm.until(done, "the first shard")
    slurm("scontrol", "requeue", f"{array}_1")
    slurm.until(lambda: done() == SHARDS, "the helpers' end")
    assert record.read(signature, tmp_path / "r2") == []
    slurm("scontrol", "release", own)
    assert launching.launch(plan, there, records=tmp_path / "r2", project=ROOT, wait=True).ok

    assert (index, slurm.restarts(f"{array}_1")) == ("0", 1)
    (expected,), (found,) = (record.read(signature, tmp_path / folder) for folder in ("r1", "r2"))
    assert found.files() == expected.files()  # the very same proposals
    assert (found.hardware["processes"], found.iterations) == (3, 16)
    Proposals(output / "proposals.npz").verify()
    slurm.until(lambda: not list(output.glob("*.shards")), "the helpers' tidying")
