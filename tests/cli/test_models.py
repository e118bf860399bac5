"""What MODEL means: a row or a cell, a signature, or a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from repro.cli import models
from repro.errors import ReproError, StageError, TableError
from repro.harness import places


def seed_of(found: models.Model, bench: Any) -> int:
    from repro.harness import record

    known = record.latest(found.signature, bench.records_folder)
    assert known is not None
    return known.seed


@pytest.fixture
def done(bench: Any) -> Any:
    """The bench with its table run at scale tiny."""
    bench.run()
    bench.records_folder = bench.results / "records"
    return bench


def test_a_cell_is_the_detector_that_its_last_training_leaves(done: Any) -> None:
    found = models.find("toy/table1/better/1%", "tiny")
    assert found.recipe["config"] == "toy/finetune.py" and found.recipe["data"]["percent"] == 1
    assert found.evaluation is not None and found.evaluation["config"] == "toy/evaluate.py"
    assert (found.label, found.stem) == ("toy/table1/better/1%", "toy-table1-better-1percent.tiny")
    assert seed_of(found, done) == 1
    assert seed_of(models.find("toy/table1/better/1%", "tiny", seed=3), done) == 3
    weights = models.weighted(found, None, False, done.output).weights
    assert weights == done.output / found.signature / "model_final.pth"
    assert weights.read_text() == found.signature


def test_a_bare_table_and_a_label_will_do(done: Any) -> None:
    assert models.find("table1/Better/10%", "tiny").signature == models.find("toy/table1/better/10%", "tiny").signature


def test_a_row_of_several_detectors_wants_its_column(done: Any) -> None:
    with pytest.raises(TableError, match=r"means 2 detectors: name one with its column. Columns: 1%, 10%"):
        models.find("toy/table1/better", "tiny")


def test_a_row_whose_columns_share_a_detector_is_enough(bench: Any) -> None:
    text = bench.text.replace("{finetune: {data.percent: 1}}", "{}").replace(
        "{finetune: {data.percent: 10}}", "{metric: coco_box.AP50}"
    )
    bench.declare("toy/table1", text)
    assert models.find("toy/table1/better", "tiny").recipe["config"] == "toy/finetune.py"


def test_a_signature_is_a_detector_or_the_evaluation_of_one(done: Any) -> None:
    cell = models.find("toy/table1/better/1%", "tiny")
    by_detector = models.find(cell.signature)
    assert by_detector.recipe == cell.recipe
    assert by_detector.evaluation == cell.evaluation  # as the stored plan has it
    from repro.harness import record

    for path in done.records_folder.glob("*.json"):
        one = record.latest(path.stem, done.records_folder)
        assert one is not None
        if one.kind == "evaluate" and cell.signature in one.parents.values():
            assert models.find(one.signature).signature == cell.signature
            return
    raise AssertionError("its evaluation is recorded")


def test_a_table_or_a_pattern_is_its_rows(bench: Any) -> None:
    assert models.expand("toy/table1") == ["toy/table1/plain", "toy/table1/later", "toy/table1/better"]
    assert models.expand("table1/b*") == ["toy/table1/better"]
    assert models.expand("toy/table1/better/1%") == ["toy/table1/better/1%"]
    assert models.expand("a/recipe.py") == ["a/recipe.py"]
    with pytest.raises(TableError, match="has no row 'x\\*'"):
        models.expand("toy/table1/x*")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("toy/table1", "write toy/table1/ROW or toy/table1/ROW/COLUMN. Rows: plain, later, better"),
        ("toy/table1/bettr", "Did you mean better?"),
        ("toy/table1/better/2%", "has no column '2%'"),
        ("toy/tabel1/better", "Did you mean toy/table1?"),
        ("toy/table1/quoted/1%", "row quoted is only quoted by the paper"),
        ("0123456789ab", "there is no record of 0123456789ab"),
        ("toy/missing.py", "There is no recipe toy/missing.py"),
        ("toy/finetune.py", "toy/finetune.py describes no detector: it has no section model"),
    ],
)
def test_what_means_no_detector_is_refused_with_the_nearest(bench: Any, name: str, told: str) -> None:
    with pytest.raises(ReproError) as caught:
        models.find(name, "tiny")
    assert told in str(caught.value)


def test_weights_that_are_not_here_say_how_to_get_them(bench: Any, tmp_path: Path) -> None:
    found = models.find("toy/table1/better/1%", "tiny")
    with pytest.raises(StageError) as caught:
        models.weighted(found, None, False, bench.output)
    told = str(caught.value)
    assert "repro run toy/table1 --scale tiny" in told
    assert "--random-weights" in told
    assert models.weighted(found, None, True, bench.output).weights is None
    with pytest.raises(StageError, match="there is no file"):
        models.weighted(found, tmp_path / "absent.pth", False, bench.output)
    with pytest.raises(ReproError, match="which of them is meant"):
        models.weighted(found, tmp_path / "absent.pth", True, bench.output)


def test_weights_that_were_changed_are_not_taken(done: Any) -> None:
    found = models.find("toy/table1/better/1%", "tiny")
    (done.output / found.signature / "model_final.pth").write_text("other")
    with pytest.raises(StageError, match="has no weights here"):
        models.weighted(found, None, False, done.output)


RECIPE = "rtdetr/rtdetrv2_r18vd.py"


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own tables."""
    monkeypatch.setenv("REPRO_BENCHMARKS", str(places.project_root() / "benchmarks"))


def test_a_recipe_is_evaluated_as_its_first_table_does_it(project: None) -> None:
    found = models.find(RECIPE, "tiny")
    assert found.size == (64, 64)
    assert found.dataset == "shapes_tiny_val"
    with pytest.raises(StageError, match=f"{RECIPE} is a recipe and has no weights: give --weights FILE"):
        models.weighted(found, None, False, Path())
    other = models.find(RECIPE, "tiny", evaluation="common/evaluate_coco_val2017.py")
    assert other.size is None and other.evaluation != found.evaluation
    with pytest.raises(ReproError, match="evaluates no images"):
        models.find(RECIPE, "tiny", evaluation="rtdetr/evaluate_latency.py")


def test_a_row_that_is_also_timed_means_the_trained_detector(project: None) -> None:
    found = models.find("rtdetr/table2/rtdetrv2-r18vd", "tiny")
    assert found.evaluation is not None and found.evaluation["data"]["dataset"] == "shapes_tiny_val"
    assert found.recipe["model"] == models.find(RECIPE, "tiny").recipe["model"]
