"""Reading proposals: exact, cheap to open, and loud about what is wrong."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from repro.data.images import read_image
from repro.data.proposals import Proposals
from repro.data.selective_search import Settings, search
from repro.errors import DataError

from .conftest import propose

SETTINGS = {"size": 48, "mode": "single"}


def test_what_is_read_is_what_was_found(smoke, tmp_path):
    seen = []
    file = propose(smoke, tmp_path, SETTINGS, on_progress=lambda *done: seen.append(done), fingerprint="shapes-x")
    found = Proposals(file)
    found.verify()
    assert len(found) == 16 and seen == [(16, 16)]
    assert found.header["settings"]["size"] == 48 and found.header["dataset"] == "shapes-x"
    for record in smoke[:4]:
        boxes = search(read_image(record["file_name"]), record["image_id"], Settings(**SETTINGS)).boxes
        scale = np.array([record["width"], record["height"]] * 2) / 48
        assert np.allclose(found.boxes(record["image_id"]), boxes * scale, rtol=1e-6)
        assert found.boxes(record["image_id"]).dtype == np.float32
        assert found.size(record["image_id"]) == (record["height"], record["width"])
    assert not list(tmp_path.glob("*.shards")) and not list(tmp_path.glob(".*"))


def test_redraw_is_another_order_of_the_same_boxes(smoke, tmp_path):
    found = Proposals(propose(smoke[:2], tmp_path, SETTINGS))
    key = smoke[0]["image_id"]
    first, again, other = (found.redraw(key, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    assert (np.unique(first, axis=0) == np.unique(found.boxes(key), axis=0)).all()


def test_workers_open_the_file_themselves(smoke, tmp_path):
    found = Proposals(propose(smoke[:2], tmp_path, SETTINGS))
    content = pickle.dumps(found)
    assert len(content) < 1000
    assert (pickle.loads(content).boxes(1) == found.boxes(1)).all()


def test_faults_are_named(smoke, tmp_path):
    file = propose(smoke[:2], tmp_path, SETTINGS)
    with pytest.raises(DataError, match="no region proposals for image 16"):
        Proposals(file).boxes(16)
    content = bytearray(file.read_bytes())
    position = content.index(b"\x93NUMPY", content.index(b"boxes.npy")) + 128
    content[position] ^= 255
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"checksum|CRC-32"):
        Proposals(file).verify()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="holds no region proposals"):
        Proposals(file)


def test_a_file_of_an_older_format_is_refused_with_what_to_do(tmp_path):
    np.savez(tmp_path / "proposals.npz", header=np.array(json.dumps({"format": 1})))
    with pytest.raises(DataError, match=r"has format 1.*run its propose stage again"):
        Proposals(tmp_path / "proposals.npz")
