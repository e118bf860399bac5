"""Images that the elements of an array label together on a real SLURM, behind the training of their detector."""

from repro.data.pseudo_labels import PseudoLabels
from repro.engine.config import resolve
from repro.harness import launch as launching
from repro.harness import places, record, table
from repro.harness import plan as planning
from repro.harness.cluster import Cluster

from .conftest import ROOT


def test_an_array_labels_as_one_process_does(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_OUTPUT", str(tmp_path / "data"))
    declared = table.load("soft_teacher/table5", places.project_root() / "benchmarks")
    plan = planning.plan(declared, resolve, "smoke", rows=["multi-stage"])
    labels = next(stage for stage in plan.stages.values() if stage.kind == "label")
    labels.recipe["label"]["shards"] = 12  # an image each
    here = Cluster(name="here", executor="debug", output_root=tmp_path / "here", allow_dirty=True)
    there = Cluster(
        name="there",
        executor="slurm",
        output_root=tmp_path / "there",
        poll_seconds=0.3,
        allow_dirty=True,
        defaults={"timeout_min": 30, "slurm_partition": "debug"},
        stages={"label": {"array": 3}},
    )
    assert launching.launch(plan, here, records=tmp_path / "r1", project=ROOT).ok
    assert launching.launch(plan, there, records=tmp_path / "r2", project=ROOT, wait=True).ok

    (expected,), (found,) = (record.read(labels.signature, tmp_path / folder) for folder in ("r1", "r2"))
    assert found.artifacts["labels"] == expected.artifacts["labels"]
    assert (found.hardware["processes"], expected.hardware["processes"], found.iterations) == (3, 1, 12)
    PseudoLabels(tmp_path / "there" / labels.signature / "pseudo_labels.npz").verify()
