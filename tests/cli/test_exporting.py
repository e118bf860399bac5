"""Export from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.cli.exporting import parse_size
from repro.errors import ExportError
from repro.harness import places

DISCRETE = "rtdetr/table4/rtdetrv2-r18vd"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own tables; data sets and outputs elsewhere."""
    monkeypatch.setenv("REPRO_BENCHMARKS", str(places.project_root() / "benchmarks"))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    monkeypatch.setenv("REPRO_OUTPUT", str(tmp_path / "output"))


def test_a_row_becomes_a_file_that_answers_as_it_does(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "new" / "d.onnx"
    asked = ["export", DISCRETE, "--scale", "tiny", "--random-weights", "--batch", "1", "--output", str(path)]
    done = CliRunner().invoke(app, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    about = json.loads(done.stdout)
    assert path.is_file() and about["file"] == str(path)
    assert about["size"] == [64, 64] and about["weights"] == "random"
    assert (about["inputs"], about["outputs"]) == (
        ["images", "orig_target_sizes"],
        ["labels", "boxes", "scores"],
    )
    assert "GridSample" not in about["operators"]
    assert about["difference"] < 1e-4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([DISCRETE], "has no weights here"),
        ([DISCRETE, "--random-weights", "--size", "64by64"], "'64by64' is no size: write 640"),
        ([DISCRETE, "--random-weights", "--half"], "--half is for --format tensorrt"),
        (["detreg/table5/detreg/1%", "--random-weights"], "give --size HxW"),
        (["rtdetr/table4/rtdetrv2-r18", "--random-weights"], "Did you mean rtdetrv2-r18vd?"),
    ],
)
def test_what_cannot_be_exported_is_said_before_anything_is_made(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["export", *arguments, "--scale", "tiny"])
    assert done.exit_code == 2
    assert told in done.output


def test_sizes() -> None:
    assert parse_size("640") == (640, 640)
    assert parse_size("480x640") == parse_size("480×640") == (480, 640)
    for wrong in ("", "0", "1x2x3", "-1", "a"):
        with pytest.raises(ExportError):
            parse_size(wrong)
