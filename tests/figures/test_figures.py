"""`repro figure`, and what every kind of drawing promises."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from repro import figures
from repro.errors import FigureError
from repro.figures import _paper
from repro.harness import places, table
from repro.harness.table_file import drawings

WIDTHS = {
    3: _paper.COLUMN,
    4: _paper.PAGE,
    5: _paper.COLUMN,
    6: _paper.PAGE,
    7: _paper.PAGE,
    8: _paper.PAGE,
    12: _paper.PAGE,
}


def call(*arguments: str) -> Any:
    from repro.cli.app import app

    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_every_kind_is_drawn_here() -> None:
    """So that a new kind gets a figure in this folder's fixture."""
    assert drawings() == ["boxes", "gain", "proposals_at_k", "pseudo_boxes", "saliency", "slots"]


@pytest.mark.parametrize("number", WIDTHS)
def test_a_figure_is_a_picture_with_its_numbers_and_where_they_are_from(lab: Any, number: int, tmp_path: Path) -> None:
    done = call(
        "figure", f"toy/figure{number}", "--scale", "smoke", "--out", str(tmp_path), "--device", "cpu", "--json"
    )
    assert done.exit_code == 0, done.output
    about = json.loads(done.stdout)
    stem = f"toy-figure{number}.smoke"
    with Image.open(tmp_path / f"{stem}.png") as picture:
        assert picture.width == pytest.approx(300 * WIDTHS[number], abs=1)
        pixels = np.asarray(picture.convert("RGB"))
        said = picture.text["Description"]
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20  # something is drawn
    assert (pixels[:3] == 255).all() and (pixels[:, :2] == 255).all()  # and nothing is cut off
    assert said.startswith(
        f"toy/figure{number} at scale smoke, after Figure {number} of arXiv:0000.00000: images shapes"
    )
    with (tmp_path / f"{stem}.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == about["lines"] > 0
    assert about == json.loads((tmp_path / f"{stem}.json").read_text(encoding="utf-8"))
    assert sorted(about["files"]) == sorted(path.name for path in tmp_path.iterdir())
    assert about["read"] and all((lab.records / f"{signature}.json").exists() for signature in about["read"])


def test_equal_numbers_give_equal_pictures(lab: Any, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        assert call("figure", "figure7", "-s", "smoke", "--out", str(tmp_path / folder)).exit_code == 0
    one, other = ((tmp_path / folder / "toy-figure7.smoke.png").read_bytes() for folder in ("a", "b"))
    assert one == other


def test_figures_are_written_to_the_results_and_in_other_formats(lab: Any) -> None:
    done = call("figure", "figure5", "-s", "smoke", "--format", "pdf", "--format", "svg")
    written = [lab.results / "figures" / f"toy-figure5.smoke.{end}" for end in ("pdf", "svg", "csv", "json")]
    assert [Path(line).resolve() for line in done.stdout.split()] == [path.resolve() for path in written]
    assert written[0].read_bytes().startswith(b"%PDF")


def test_what_is_missing_is_named_with_the_command_that_runs_it(lab: Any) -> None:
    name = lab.declare(
        9,
        "{kind: boxes, k: 3}",
        "stages:\n  propose: {config: detreg/propose_coco.py, seeds: [9]}\ncolumns: {all: {}}\nrows: {Ours: {}}\n",
    )
    try:
        done = call("figure", name, "--scale", "smoke")
        assert done.exit_code == 2
        assert "toy/figure9 at scale smoke cannot be drawn yet, for want of" in done.output
        assert "propose ours/all seed 9: to run (never run)" in done.output
        assert "repro run toy/figure9 --scale smoke" in done.output.splitlines()[-1]
        part = call("figure", name, "--scale", "smoke", "--columns", "all")
        assert "repro run toy/figure9 --scale smoke --columns all" in part.output.splitlines()[-1]
        cluster = lab.root / "here.yaml"
        cluster.write_text(f"executor: debug\noutput_root: {lab.output}\nallow_dirty: true\n")
        done = call("figure", name, "--scale", "smoke", "--run", "--cluster", str(cluster))
        assert done.exit_code == 0, done.output
        assert (lab.results / "figures" / "toy-figure9.smoke.png").exists()
    finally:
        (lab.benchmarks / f"{name}.yaml").unlink()


def test_weights_that_are_recorded_and_elsewhere_have_to_be_made_again(lab: Any) -> None:
    (source,) = lab.sources("toy/figure4")
    weights = source.folder("model") / "model_final.pth"
    weights.rename(weights.with_suffix(".away"))
    try:
        done = call("figure", "figure4", "--scale", "smoke")
        assert "recorded (its files are not here)" in done.output
        foreseen = json.loads(call("run", "figure4", "--scale", "smoke", "--dry-run", "--json", "-c", "local").stdout)
        assert list(foreseen["todo"]) == [source.stages[2].signature]
    finally:
        weights.with_suffix(".away").rename(weights)


def test_a_table_is_not_drawn_and_a_figure_without_numbers_not_compared(lab: Any) -> None:
    with pytest.raises(FigureError, match="is a table, not a figure"):
        figures.load(table.load("detreg/table5", places.project_root() / "benchmarks"))
    done = call("diff", "figure5", "--scale", "smoke")
    assert done.exit_code == 2 and "has no numbers to compare; draw it: repro figure toy/figure5" in done.output


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        ("{kind: slot}", "there is no repro/figures/slot.py. Did you mean slots?"),
        ("{kind: slots, slotz: 3}", "draw: unknown key slotz. Did you mean slots?"),
        ("{kind: slots, slots: 0}", "draw: slots: input should be greater than or equal to 1, not 0"),
        ("{kind: boxes, k: many}", "draw: k"),
        ("{slots: 3}", "draw.kind is missing"),
    ],
)
def test_what_a_figure_sets_wrongly_is_found_before_anything_runs(lab: Any, draw: str, said: str) -> None:
    name = lab.declare(
        10, draw, "stages:\n  propose: {config: detreg/propose_coco.py}\ncolumns: {a: {}}\nrows: {b: {}}\n"
    )
    try:
        done = call("check", name, "--no-recipes")
        assert done.exit_code == 2
        assert said in done.output
        assert call("figure", name, "--scale", "smoke").exit_code == 2
    finally:
        (lab.benchmarks / f"{name}.yaml").unlink()


def test_figures_are_listed_and_shown(lab: Any) -> None:
    listed = json.loads(call("list", "--json").stdout)
    assert [one["table"] for one in listed] == [f"toy/figure{number}" for number in WIDTHS]
    shown = call("show", "figure6").stdout
    assert "arXiv:0000.00000, Figure 6" in shown and "drawn by repro/figures/slots.py: slots=5" in shown


def test_a_drawing_that_reads_what_no_stage_leaves_says_so(lab: Any) -> None:
    name = lab.declare(
        11,
        "{kind: saliency}",
        "stages:\n  propose: {config: detreg/propose_coco.py}\ncolumns: {a: {}}\nrows: {b: {}}\n",
    )
    try:
        done = call("figure", name, "--scale", "smoke")
        assert "the drawing needs model, so each cell needs a stage pretrain or train or finetune" in done.output
    finally:
        (lab.benchmarks / f"{name}.yaml").unlink()
