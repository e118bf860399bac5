"""The ship challenge: masks to boxes, the split, and a replica in the true layout."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from repro.data import datasets
from repro.data.datasets import airbus
from repro.data.shape_images import run_lengths
from repro.errors import DataError


def encode(mask: np.ndarray) -> str:
    """The challenge's code of a mask, by way of COCO's: starts count from 1."""
    counts = run_lengths(mask)["counts"]
    ends = np.cumsum(counts)
    runs = [(int(ends[place - 1]) + 1, counts[place]) for place in range(1, len(counts), 2)]
    return " ".join(f"{start} {length}" for start, length in runs)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.98))
def test_box_and_area_are_those_of_the_mask(seed, share):
    rng = np.random.default_rng(seed)
    mask = np.zeros((12, 12), bool)
    y, x = rng.integers(0, 9, 2)
    h, w = rng.integers(1, 12 - max(y, x) + 1, 2)
    mask[y : y + h, x : x + w] = rng.random((h, w)) < share
    if not mask.any():
        return
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    assert airbus.box_and_area(encode(mask), 12) == (box, mask.sum())


def test_a_run_that_goes_on_in_the_next_column_reaches_over_the_full_height():
    assert airbus.box_and_area("4 3", 4) == ([0, 0, 2, 4], 3)  # last pixel of one column, two of the next


@pytest.mark.parametrize("runs", ["5", "0 3", "140 9", "3 0", "a b", ""])
def test_what_is_no_code_is_refused(runs):
    with pytest.raises(ValueError):
        airbus.box_and_area(runs, 12)


def test_the_split_is_a_function_of_the_names_and_has_the_papers_sizes():
    names = [f"{number:09x}.jpg" for number in range(airbus.SHOWING)]
    parts = airbus.split_of(names)
    assert {split: len(part) for split, part in parts.items()} == {"train": 36_556, "val": 3_000, "test": 3_000}
    assert sorted(name for part in parts.values() for name in part) == names
    assert airbus.split_of(names[::-1]) == parts
    assert parts["test"][:2] == ["000000023.jpg", "000000031.jpg"]  # the same on every machine


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """Six images with a ship or two, four without, in the challenge's files."""
    folder = tmp_path / "downloads"
    (folder / airbus.IMAGES).mkdir(parents=True)
    lines = ["ImageId,EncodedPixels"]
    for number in range(10):
        name = f"{number:09x}.jpg"
        Image.new("RGB", (airbus.SIDE, airbus.SIDE)).save(folder / airbus.IMAGES / name)
        mask = np.zeros((airbus.SIDE, airbus.SIDE), bool)
        mask[10 + number : 20 + number, 100:105] = True
        lines += [f"{name},{encode(mask)}"] * (1 + number % 2) if number < 6 else [f"{name},"]
    (folder / airbus.MASKS).write_text("\n".join(lines) + "\n")
    return folder


def test_a_replica_is_prepared_split_and_read(challenge, tmp_path):
    root = tmp_path / "datasets"
    told = datasets.prepare("airbus", challenge, root)
    assert any("train.json: 4 images" in line for line in told)
    read = {split: datasets.load(f"airbus_{split}", root) for split in airbus.SPLITS}
    assert sorted(record["image_id"] for records in read.values() for record in records) == list(range(6))
    for record in itertools.chain(*read.values()):
        number = record["image_id"]
        assert [entry["bbox"] for entry in record["annotations"]] == [[100, 10 + number, 105, 20 + number]] * (
            1 + number % 2
        )
    assert datasets.annotation_file("airbus_test", root) == root / airbus.FOLDER / "test.json"
    before = datasets.fingerprint("airbus_train", root)
    assert before != datasets.fingerprint("airbus_train", tmp_path / "elsewhere") == "airbus-v2-split1-train"
    datasets.verify("airbus_train", before, root)
    assert datasets.prepare("airbus", challenge, root)[0].endswith("already")
    assert datasets.fingerprint("airbus_train", root) == before
    file = root / airbus.FOLDER / "train.json"
    file.write_text(file.read_text().replace("100,1", "101,1"))
    with pytest.raises(DataError, match="changed since"):
        datasets.verify("airbus_train", before, root)


def test_what_is_missing_or_wrong_is_named(challenge, tmp_path):
    root = tmp_path / "datasets"
    with pytest.raises(DataError, match=r"kaggle\.com.*data prepare airbus"):
        datasets.load("airbus_train", root)
    masks = challenge / airbus.MASKS
    whole = masks.read_text()
    masks.write_text(whole + "000000009.jpg,589825 5\n")
    with pytest.raises(DataError, match=r"line 15, 000000009\.jpg: a run leaves"):
        datasets.prepare("airbus", challenge, root)
    assert not list(root.glob("*.json")), "nothing that looks prepared"
    masks.write_text(whole.replace("ImageId", "id"))
    with pytest.raises(DataError, match="columns"):
        datasets.prepare("airbus", challenge, root)
    masks.unlink()
    with pytest.raises(DataError, match=airbus.MASKS):
        datasets.prepare("airbus", challenge, tmp_path / "other")
    with pytest.raises(DataError, match="--from DIR"):
        datasets.prepare("airbus", None, root)


def test_the_one_image_that_was_published_broken_is_left_out(challenge, tmp_path, monkeypatch):
    monkeypatch.setattr(airbus, "TRUNCATED", "000000005.jpg")
    file = challenge / airbus.IMAGES / airbus.TRUNCATED
    file.write_bytes(file.read_bytes()[:1000])
    datasets.prepare("airbus", challenge, tmp_path)
    found = [datasets.read(f"airbus_{split}", tmp_path) for split in airbus.SPLITS]
    assert sum(len(one.records) for one in found) == 5
    assert [line for one in found for line in one.skipped if airbus.TRUNCATED in line]
