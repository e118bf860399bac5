"""The table of one's own data: it is planned anywhere, and its whole chain runs on images of 640×480 in VOC layout.

Those are BCCD's photographs where REPRO_BCCD says where they lie, and always a few drawn ones in their place, so that
the recipes are tried on machines that do not have BCCD.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.data import datasets
from repro.data.datasets import bccd
from repro.engine import config
from repro.errors import PlanError
from repro.harness import places, plan, record, table

TABLE = "examples/bccd"
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


@pytest.fixture
def photographs() -> Path:
    if not os.environ.get("REPRO_BCCD"):
        pytest.skip("REPRO_BCCD does not say where BCCD's photographs are; CI has none")
    return Path(os.environ["REPRO_BCCD"])


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without BCCD."""
    monkeypatch.delenv("REPRO_BCCD", raising=False)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the layout of BCCD: discs of three sizes and colours, 40 images to train on and 4 to test on."""
    folder = tmp_path / "BCCD"
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    stems = [f"image_{number:02d}" for number in range(44)]
    for number, stem in enumerate(stems):
        draw(folder, stem, np.random.default_rng(number))
    for split, part in {"train": stems[:40], "val": stems[:1], "trainval": stems[:40], "test": stems[40:]}.items():
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(part))
    monkeypatch.setenv("REPRO_BCCD", str(folder))
    return folder


def draw(folder: Path, stem: str, rng: np.random.Generator) -> None:
    """Write one image and its annotations."""
    image = rng.integers(200, 230, (480, 640, 3), dtype=np.uint8)
    objects = ""
    for name, radius, colour in (
        ("Platelets", 14, (120, 60, 120)),
        ("RBC", 45, (90, 90, 200)),
        ("WBC", 70, (150, 40, 70)),
    ):
        x, y = int(rng.integers(radius, 640 - radius)), int(rng.integers(radius, 480 - radius))
        cv2.circle(image, (x, y), radius, colour, -1)
        objects += f"<object><name>{name}</name>{BOX.format(x - radius, y - radius, x + radius, y + radius)}</object>"
    cv2.imwrite(str(folder / "JPEGImages" / f"{stem}.jpg"), image)
    size = "<size><width>640</width><height>480</height></size>"
    (folder / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{size}{objects}</annotation>")


def planned(scale: str) -> plan.Plan:
    return plan.plan(table.load(TABLE, places.project_root() / "benchmarks"), config.resolve, scale)


@pytest.mark.parametrize("scale", table.SCALES)
def test_it_is_planned_without_the_data_and_no_scale_puts_others_in_their_place(nowhere, scale):
    stages = planned(scale).stages.values()
    read = {kind: {name for stage in stages if stage.kind == kind for name in stage.datasets} for kind in table.KINDS}
    assert read["propose"] == read["pretrain"] == read["finetune"] == {"bccd_train"}
    assert read["evaluate"] == {"bccd_test"}
    assert {stage.recipe["data"]["percent"] for stage in stages if stage.kind == "finetune"} == {10, 50, 100}
    assert {stage.recipe["model"]["num_classes"] for stage in stages if stage.kind == "finetune"} == {3}
    for stage in stages:
        if stage.kind == "pretrain":  # an image without proposals would stop it
            propose = next(one for one in stages if one.signature == stage.parents["propose"])
            assert (propose.seed, propose.recipe["data"]["percent"]) == (stage.seed, stage.recipe["data"]["percent"])


def test_both_rows_start_from_one_backbone_that_table_5_has_too(nowhere):
    encoders = {stage.signature for stage in planned("small").stages.values() if stage.kind == "encoder"}
    five = plan.plan(table.load("detreg/table5", places.project_root() / "benchmarks"), config.resolve, "small")
    assert len(encoders) == 1
    assert encoders < set(five.stages)


def test_plans_made_without_the_data_are_those_of_the_published_files(photographs, monkeypatch):
    found = {split: datasets.fingerprint(f"bccd_{split}") for split in bccd.COUNTS}
    assert found == bccd.PUBLISHED
    here = set(planned("small").stages)
    monkeypatch.delenv("REPRO_BCCD")
    assert set(planned("small").stages) == here


def test_a_variable_that_leads_nowhere_is_refused_when_planning(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_BCCD", str(tmp_path / "typo"))
    with pytest.raises(PlanError, match="typo"):
        planned("smoke")


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, Path]:
    """Run one cell at scale smoke in this process; return exit code, what was printed, and the folder of results."""
    results = tmp_path / "results"
    cluster = tmp_path / "here.yaml"
    cluster.write_text(f"executor: debug\noutput_root: {tmp_path / 'output'}\nallow_dirty: true\n")
    monkeypatch.setenv("REPRO_RESULTS", str(results))
    monkeypatch.setenv("REPRO_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    asked = ["run", TABLE, "--scale", "smoke", "--cluster", str(cluster), "--rows", "detreg", "--columns", "10%"]
    done = CliRunner().invoke(app, asked)
    return done.exit_code, f"{done.stdout}\n{done.stderr}", results


def check_chain(results: Path, tmp_path: Path) -> dict[str, record.Record]:
    """What must be true of the records of a chain, whatever the images: kind to record."""
    assert record.verify(results / "records") == []
    files = list((results / "records").glob("*.json"))
    for file in files:
        assert str(tmp_path) not in file.read_text(), "a record is committed: it holds no path of a machine"
    records = {found.kind: found for file in files for found in record.read(file.stem, results / "records")}
    assert set(records) == {"encoder", "propose", "pretrain", "finetune", "evaluate"}
    assert 0 <= records["evaluate"].metrics["coco_box.AP"] <= 100
    shown = CliRunner().invoke(app, ["diff", TABLE, "--scale", "smoke", "--json"])
    cells = [cell for cell in json.loads(shown.stdout)["cells"] if cell["n"]]
    assert [(cell["row"], cell["column"], cell["n"]) for cell in cells] == [("detreg", "10%", 1)]
    return records


def test_the_whole_chain_on_real_photographs(photographs, tmp_path, monkeypatch):
    code, told, results = run(tmp_path, monkeypatch)
    assert code == 0, told
    records = check_chain(results, tmp_path)
    assert records["finetune"].datasets == {"bccd_train": bccd.PUBLISHED["train"]}
    assert records["evaluate"].datasets == {"bccd_test": bccd.PUBLISHED["test"]}
    assert records["propose"].iterations == 20  # a tenth of the 205 images


def test_the_whole_chain_on_any_folder_of_that_layout(drawn, tmp_path, monkeypatch):
    code, told, results = run(tmp_path, monkeypatch)
    assert code == 0, told
    records = check_chain(results, tmp_path)
    assert records["finetune"].datasets["bccd_train"] != bccd.PUBLISHED["train"]
    assert records["propose"].iterations == 4


def test_running_without_the_data_says_what_is_missing(nowhere, tmp_path, monkeypatch):
    code, told, results = run(tmp_path, monkeypatch)
    assert code == 1
    assert "bccd_train: not found" in told.replace("\n", " ")
    assert "REPRO_BCCD" in told
    assert not [file for file in (results / "records").glob("*.json") if "bccd" in file.read_text()]
