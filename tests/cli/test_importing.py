"""`repro import`: a COCO results file of another code base becomes a record."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def scored(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bench whose engine scores a file by the number of its detections."""

    def score_file(recipe: Mapping[str, Any], detections: Path) -> dict[str, float]:
        assert recipe["config"] == "toy/evaluate.py"
        return {"coco_box.AP": float(len(json.loads(detections.read_text())))}

    engine = types.ModuleType("repro.engine.evaluate")
    engine.score_file = score_file  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "repro.engine.evaluate", engine)
    return bench


def detections(bench: Any, count: int) -> str:
    path = bench.root / "detections.json"
    path.write_text(json.dumps([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1.0}] * count))
    return str(path)


def test_import_records_an_external_result(scored: Any) -> None:
    done = scored.call("import", "toy/table1/better/1%", detections(scored, 12), "--seed", "2", "--scale", "tiny")
    assert done.code == 0, done.all
    assert "coco_box.AP 12.00" in done.out
    (found,) = scored.call("record", "show", "toy/table1/better/1%", "--scale", "tiny", "--json").json
    assert (found["origin"], found["seed"], found["metrics"]) == ("external", 2, {"coco_box.AP": 12.0})
    kept = scored.output / found["signature"] / found["artifacts"]["detections"]["file"]
    assert len(json.loads(kept.read_text())) == 12
    cells = scored.call("diff", "toy/table1", "--scale", "tiny", "--json").json["cells"]
    ours = next(cell for cell in cells if (cell["row"], cell["column"]) == ("better", "1%"))
    assert (ours["n"], ours["mean"], ours["origin"]) == (1, 12.0, "external")


def test_a_seed_of_its_own_makes_no_other_cell_unfinished(scored: Any) -> None:
    scored.run("--rows", "plain")
    done = scored.call("import", "toy/table1/better/1%", detections(scored, 12), "--seed", "77", "--scale", "tiny")
    assert done.code == 0, done.all
    cells = scored.call("diff", "toy/table1", "--scale", "tiny", "--json").json["cells"]
    verdicts = {(cell["row"], cell["column"]): cell["verdict"] for cell in cells if cell["kind"] == "cell"}
    assert verdicts["better", "1%"] == "partial"
    assert verdicts["plain", "1%"] == verdicts["plain", "10%"] == "no reference"


def test_what_we_trained_goes_before_what_was_imported(scored: Any) -> None:
    part = ("--rows", "better", "--columns", "1%", "--seeds", "1")
    scored.run(*part)
    scored.call("import", "toy/table1/better/1%", detections(scored, 40), "--seed", "1", "--scale", "tiny")
    cells = scored.call("diff", "toy/table1", "--scale", "tiny", "--json", *part).json["cells"]
    assert [(cell["mean"], cell["origin"]) for cell in cells] == [(pytest.approx(13.1), "retrained")]


def test_an_imported_score_does_not_keep_a_cell_from_being_trained(scored: Any) -> None:
    part = ("--rows", "better", "--columns", "1%", "--seeds", "1")
    scored.call("import", "toy/table1/better/1%", detections(scored, 40), "--seed", "1", "--scale", "tiny")
    scored.run(*part)
    cells = scored.call("diff", "toy/table1", "--scale", "tiny", "--json", *part).json["cells"]
    assert [(cell["mean"], cell["origin"]) for cell in cells] == [(pytest.approx(13.1), "retrained")]


def test_a_file_that_is_not_there(scored: Any) -> None:
    done = scored.call("import", "toy/table1/better/1%", "nowhere.json", "--seed", "1", "--scale", "tiny")
    assert done.code == 2
    assert "nowhere.json does not exist" in done.err


def test_a_cell_that_cannot_run_takes_no_result(scored: Any) -> None:
    done = scored.call("import", "toy/table1/quoted/1%", detections(scored, 1), "--seed", "1", "--scale", "tiny")
    assert done.code == 2
    assert "only quoted" in done.err
