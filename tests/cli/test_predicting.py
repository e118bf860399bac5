"""Detectors on pictures: what is drawn, what is written, and what is said of images that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from repro.cli import predicting
from repro.cli.app import app
from repro.errors import DataError
from repro.harness import places

RECIPE = "rtdetr/rtdetrv2_r18vd.py"


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three pictures of different sizes, and a text."""
    monkeypatch.setenv("REPRO_BENCHMARKS", str(places.project_root() / "benchmarks"))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, size in (("a.jpg", (60, 90)), ("b.png", (80, 50)), ("c.PNG", (40, 40))):
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), pixels)
    (folder / "notes.txt").write_text("no image")
    return folder


def predict(*arguments: Any) -> Any:
    options = ["--model", RECIPE, "--scale", "tiny", "--random-weights"]
    return CliRunner().invoke(app, ["predict", *options, *map(str, arguments)])


def test_boxes_are_drawn_and_written_as_coco_has_them(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = predict(pictures, "--output", out, "--score-threshold", 0)
    assert done.exit_code == 0, done.output
    info, results = (json.loads((out / name).read_text()) for name in ("image_info.json", "detections.json"))
    sizes = {Path(one["file_name"]).name: (one["height"], one["width"]) for one in info["images"]}
    assert sizes == {"a.jpg": (60, 90), "b.png": (80, 50), "c.PNG": (40, 40)}
    assert [one["name"] for one in info["categories"]][:2] == ["disk", "ring"] or len(info["categories"]) == 8
    assert len(results) == 3 * 30  # all that a detector of this scale keeps
    by_id = {one["id"]: one for one in info["images"]}
    for one in results:
        image = by_id[one["image_id"]]
        x, y, width, height = one["bbox"]
        assert one["file_name"] == image["file_name"]
        assert min(x, y, width, height) >= 0
        assert x + width <= image["width"] + 0.02 and y + height <= image["height"] + 0.02
    for name, size in sizes.items():
        drawn, before = cv2.imread(str(out / name)), cv2.imread(str(pictures / name))
        assert drawn.shape[:2] == size
        assert not np.array_equal(drawn, before)


def test_what_is_written_is_what_coco_reads(pictures: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    done = predict(pictures / "a.jpg", "--output", tmp_path / "out", "-t", 0, "--no-pictures")
    assert done.exit_code == 0, done.output
    info = json.loads((tmp_path / "out" / "image_info.json").read_text())
    truth = COCO()
    truth.dataset = info | {"annotations": []}
    truth.createIndex()
    assert len(truth.loadRes(str(tmp_path / "out" / "detections.json")).anns) == 30
    assert not (tmp_path / "out" / "a.jpg").exists()


def test_a_threshold_leaves_weak_boxes_out_and_the_picture_as_it_is(pictures: Path, tmp_path: Path) -> None:
    done = predict(pictures / "b.png", "--output", tmp_path / "out", "-t", 0.99)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out" / "detections.json").read_text()) == []
    assert "b.png: 0 detections" in done.stdout
    assert np.array_equal(cv2.imread(str(tmp_path / "out" / "b.png")), cv2.imread(str(pictures / "b.png")))


def test_files_folders_and_patterns_each_image_once(pictures: Path) -> None:
    found = predicting.gather([str(pictures / "b.png"), str(pictures), str(pictures / "*.jpg")])
    assert [one.name for one in found] == ["b.png", "a.jpg", "c.PNG"]
    assert [one.name for one in predicting.gather([f"{pictures.parent}/**/?.png"])] == ["b.png"]


def test_all_that_is_no_image_is_named_at_once(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        predicting.gather([str(pictures / "a.jpeg"), str(tmp_path / "empty"), str(pictures / "*.gif")])
    told = str(caught.value)
    assert "3 faults" in told
    assert "a.jpeg: there is no such image. Did you mean a.jpg?" in told
    assert "the folder holds no image" in told
    done = predict(pictures / "notes.txt")
    assert done.exit_code == 2 and "notes.txt" in done.output and "Traceback" not in done.output


def test_pictures_of_one_name_are_kept_apart() -> None:
    files = [Path("x/a.jpg"), Path("y/a.jpg"), Path("b.jpg")]
    assert predicting._picture_names(files) == ["1-a.jpg", "2-a.jpg", "b.jpg"]
