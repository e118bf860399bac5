"""The generated ships, and the shapes that stand in for VOC."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from repro.data import datasets
from repro.data.datasets import shapes, ships


@pytest.mark.parametrize("module, function", [(ships, ships.image), (shapes, shapes.voc_image)])
def test_an_image_is_a_function_of_its_number(module, function):
    golden = json.loads((Path(__file__).parent / "variants_golden.json").read_text())
    for key, expected in golden[module.__name__.rpartition(".")[2]].items():
        size, split, index = key.split("/")
        pixels, annotations = function(size, split, int(index))
        assert list(pixels.shape[:2]) == expected["shape"], key
        assert [[*entry["bbox"], entry.get("difficult", 0)] for entry in annotations] == expected["objects"], key
        assert abs(pixels.mean() - expected["mean"]) < 0.5, key  # other CPUs round blurs differently


def test_ships_are_small_slender_and_never_missing():
    drawn = [ships.image("small", "train", index) for index in range(80)]
    assert all(annotations for _, annotations in drawn)
    shares = [
        entry["area"] / (pixels.shape[0] * pixels.shape[1]) for pixels, annotations in drawn for entry in annotations
    ]
    fill = [entry["area"] / (entry["bbox"][2] * entry["bbox"][3]) for _, found in drawn for entry in found]
    assert np.median(shares) < 0.02 and np.median(fill) < 0.6
    assert {len(annotations) for _, annotations in drawn} >= {1, 2, 3}


def test_the_sets_are_whole(shapes_root):
    for name in ("ships_smoke_train", "ships_smoke_test", "shapes_voc_smoke_train", "shapes_voc_smoke_test"):
        assert not datasets.check(name, shapes_root, deep=True)
    assert datasets.class_names("ships_smoke_test") == ("ship",)


def test_small_shapes_are_difficult_and_the_evaluator_is_told(shapes_root):
    records = datasets.load("shapes_voc_smoke_train", shapes_root)
    flags = [entry.get("difficult", 0) for record in records for entry in record["annotations"]]
    content = json.loads(datasets.annotation_file("shapes_voc_smoke_train", shapes_root).read_text())
    assert [entry.get("ignore", 0) for entry in content["annotations"]] == flags
    assert 0 < sum(flags) < len(flags) / 2


def test_the_sets_have_fingerprints_of_their_own():
    named = [name for name in datasets.names() if name.startswith(("ships_", "shapes_"))]
    own = [name for name in named if not name.endswith("fewshot") and "fewshot" not in name]
    assert len({datasets.fingerprint(name) for name in own}) == len(own) == 24
