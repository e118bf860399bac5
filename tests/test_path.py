"""Declare to report: DETReg's Table 5 on generated images, on this CPU, every recipe of it once and in one process."""

import json

import pytest

from repro.engine.config import resolve
from repro.harness import diff, launch, record, report, table
from repro.harness import plan as planning
from repro.harness.cluster import Cluster


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Where results and outputs go: nothing outside the test's own folder."""
    root = tmp_path_factory.mktemp("path")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_OUTPUT", str(root / "output"))
        patch.delenv("DETECTRON2_DATASETS", raising=False)
        yield root


@pytest.fixture(scope="module")
def declared():
    return table.load("detreg/table5")


@pytest.fixture(scope="module")
def plan(declared, paths):
    made = planning.plan(declared, resolve, "smoke")
    planning.write(made, paths / "plans")
    return planning.read(declared.name, "smoke", paths / "plans")  # jobs build from the file alone


@pytest.fixture(scope="module")
def launched(plan, paths):
    cluster = Cluster(name="here", executor="debug", output_root=paths / "output", allow_dirty=True)
    first = launch.launch(plan, cluster, records=paths / "records")
    again = launch.launch(plan, cluster, records=paths / "records")
    return first, again


def test_rows_differ_at_every_scale_by_what_they_run(declared):
    for scale in planning.SCALES:
        made = planning.plan(declared, resolve, scale)
        for column in {cell.column for cell in made.cells}:
            last = [(cell.row, cell.seed, cell.stages[-1]) for cell in made.cells if cell.column == column]
            assert len({stages for _, _, stages in last}) == len(last)


def test_every_stage_is_recorded_once(launched, plan, paths):
    first, again = launched
    assert first.ok
    assert set(first.todo) == set(plan.stages)
    assert not again.todo
    assert record.verify(paths / "records") == []
    for signature in plan.stages:
        assert len(record.read(signature, paths / "records")) == 1


def test_encoder_proposals_and_pretraining_are_shared(plan):
    kinds = [stage.kind for stage in plan.stages.values()]
    assert (kinds.count("encoder"), kinds.count("propose"), kinds.count("pretrain")) == (2, 1, 1)
    (pretrain,) = (stage for stage in plan.stages.values() if stage.kind == "pretrain")
    assert {plan.stages[parent].kind for parent in pretrain.parents.values()} == {"encoder", "propose"}
    starts = {next(iter(stage.parents)) for stage in plan.stages.values() if stage.kind == "finetune"}
    assert starts == {"encoder", "pretrain"}


def test_the_comparison_holds_every_number_of_the_paper(launched, declared, plan, paths):
    frame = diff.diff(declared, plan, paths / "records")
    cells = frame[frame.kind == "cell"]
    ours = cells[cells.n > 0]
    assert set(ours.row) == {"supervised", "swav", "detreg"}
    assert ours["mean"].between(0, 100).all()
    assert set(cells[cells.row == "resim"].verdict) == {"cited"}
    assert set(ours.verdict) == {"no reference"}  # a smoke run is never set against the paper
    text = report.render(frame, declared, "markdown")
    for number in ("11.31", "27.79", "14.58", "26.56"):
        assert number in text
    assert len(json.loads(report.render(frame, declared, "json"))) > 0
