"""The generated set: the same on every machine, made once, and what its annotations say is what its pixels show."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from repro.data import datasets
from repro.data.datasets import shapes
from repro.data.shape_images import CLASSES, OUTLINES, annotate, fill, polygons, run_lengths


def test_an_image_is_a_function_of_its_number():
    golden = json.loads((Path(__file__).parent / "shapes_golden.json").read_text())
    for key, expected in golden.items():
        size, split, index = key.split("/")
        pixels, annotations = shapes.image(size, split, int(index))
        found = [[entry["category_id"], *entry["bbox"], entry["area"]] for entry in annotations]
        assert list(pixels.shape[:2]) == expected["shape"], key
        assert found == expected["objects"], key
        assert abs(pixels.mean() - expected["mean"]) < 0.5, key  # other CPUs round blurs differently


def test_files_hold_these_images(shapes_root, smoke):
    assert len(smoke) == 16
    pixels, annotations = shapes.image("smoke", "train", 3)
    record = smoke[3]
    read = cv2.imread(record["file_name"])[..., ::-1]
    assert read.shape == pixels.shape
    assert abs(read.astype(int) - pixels).mean() < 12  # JPEG
    assert len(record["annotations"]) == len(annotations)
    assert not datasets.check("shapes_smoke_train", shapes_root, deep=True)


def test_variety():
    drawn = [shapes.image("small", "train", index) for index in range(150)]
    objects = [entry for _, annotations in drawn for entry in annotations]
    areas = np.array([entry["bbox"][2] * entry["bbox"][3] for entry in objects])
    assert {entry["category_id"] for entry in objects} == set(range(1, len(CLASSES) + 1))
    assert all(bounds.sum() > 10 for bounds in (areas < 32**2, (areas >= 32**2) & (areas < 96**2)))
    assert (areas >= 96**2).any()
    assert any(not annotations for _, annotations in drawn)
    assert 3 < sum(entry["iscrowd"] for entry in objects) < 40
    assert {type(entry["segmentation"]) for entry in objects} == {list, dict}


def test_annotations_agree_with_each_other():
    for index in range(40):
        pixels, annotations = shapes.image("tiny", "val", index)
        height, width = pixels.shape[:2]
        for entry in annotations:
            x, y, w, h = entry["bbox"]
            assert x >= 0 and y >= 0 and x + w <= width and y + h <= height and w > 0 and h > 0
            mask = decode(entry["segmentation"], height, width)
            if isinstance(entry["segmentation"], dict):
                assert mask.sum() == entry["area"]
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                assert (columns[0], rows[0], columns[-1] + 1 - x, rows[-1] + 1 - y) == (x, y, w, h)
            else:  # polygons run through pixel centres and miss half a pixel all round
                assert not mask[: max(y - 1, 0)].any() and not mask[:, : max(x - 1, 0)].any()
                assert 0.4 * entry["area"] - 30 < mask.sum() <= entry["area"] + 2 * (w + h)


def decode(segmentation, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, dict):
        return coco_mask.decode(coco_mask.frPyObjects(segmentation, height, width)).astype(bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))).astype(bool)


def test_run_lengths_against_pycocotools():
    rng = np.random.default_rng(0)
    for mask in [rng.random((7, 5)) < p for p in (0, 0.3, 1)] + [np.eye(4, dtype=bool)]:
        assert (decode(run_lengths(mask), *mask.shape) == mask).all()


def test_a_ring_has_a_hole_and_no_polygon():
    ring = fill(60, 60, [30 + 25 * outline for outline in OUTLINES["ring"]])
    assert polygons(ring) is None and not ring[30, 30] and ring[30, 10]
    assert isinstance(annotate(ring, 1)["segmentation"], dict)
    assert polygons(fill(60, 60, [30 + 25 * outline for outline in OUTLINES["circle"]])) is not None


def make(root: str) -> float:
    return shapes.generate("smoke", "val", Path(root)).stat().st_ino


def test_many_processes_at_once_make_one_set(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(make, [str(tmp_path)] * 8))) == 1
    left = [file.name for file in (tmp_path / "shapes").iterdir()]
    assert shapes.fingerprint("smoke", "val") in left and not [name for name in left if name.endswith(".tmp")]


def test_an_interrupted_generation_leaves_nothing_that_looks_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "draw", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        shapes.generate("smoke", "val", tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "shapes" / shapes.fingerprint("smoke", "val")).exists()
    assert len(datasets.load("shapes_smoke_val", tmp_path)) == 8


def test_the_fingerprint_follows_version_and_parameters(monkeypatch):
    before = shapes.fingerprint("tiny", "train")
    assert before != shapes.fingerprint("tiny", "val")
    monkeypatch.setattr(shapes, "VERSION", shapes.VERSION + 1)
    assert shapes.fingerprint("tiny", "train") != before


def test_ids_of_the_splits_never_meet(shapes_root, smoke):
    val = datasets.load("shapes_smoke_val", shapes_root)
    assert not {record["image_id"] for record in val} & {record["image_id"] for record in smoke}
