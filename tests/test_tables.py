"""Every table of a paper, from plan to comparison, at scale smoke: each of its recipes once, in one process.

Tables share their folders, as they do in use, so a stage that two of them ask for runs once.
"""

import pytest

from repro.engine.config import resolve
from repro.harness import diff, launch, places, record, table
from repro.harness import plan as planning
from repro.harness.cluster import Cluster

PAPERS = ("detreg", "rtdetr", "soft_teacher")
DECLARED = [name for name in table.names(places.project_root() / "benchmarks") if name.partition("/")[0] in PAPERS]
NAMES = [name for name in DECLARED if "figure" not in name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where results and outputs go: nothing outside the test's own folder."""
    root = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_OUTPUT", str(root / "output"))
        patch.delenv("REPRO_BENCHMARKS", raising=False)
        patch.delenv("DETECTRON2_DATASETS", raising=False)
        yield root


@pytest.mark.parametrize("name", NAMES)
def test_a_table_runs_and_every_cell_that_can_be_run_is_measured(name, folder):
    declared = table.load(name)
    plan = planning.plan(declared, resolve, "smoke")
    cluster = Cluster(name="here", executor="debug", output_root=folder / "output", allow_dirty=True)
    done = launch.launch(plan, cluster, records=folder / "records")
    assert done.ok, {**done.failed, **done.blocked}
    assert all(record.read(signature, folder / "records") for signature in plan.stages)
    frame = diff.diff(declared, plan, folder / "records")
    cells = frame[frame.kind == "cell"]
    measured = cells[cells.n > 0]
    assert set(zip(measured.row, measured.column, strict=True)) == set(declared.runnable_cells("smoke"))
    scores = measured[~measured.metric.str.startswith(("latency", "parameters"))]
    assert (measured["mean"] >= 0).all() and (scores["mean"] <= 100).all()
    assert set(measured.verdict) <= {"no reference", "not comparable"}  # a smoke run is never set against the paper
