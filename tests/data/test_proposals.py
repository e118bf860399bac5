"""Proposals of a whole set: resumable, the same with any number of processes, exact when read back."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from repro.data import proposals
from repro.data.images import read_image
from repro.data.proposals import Proposals, propose
from repro.data.selective_search import Settings, search
from repro.errors import DataError

SETTINGS = {"size": 48, "mode": "single"}


@pytest.fixture
def few_a_shard(monkeypatch):
    monkeypatch.setattr(proposals, "SHARD", 5)


def test_what_is_read_is_what_was_found(smoke, tmp_path):
    seen = []
    file = propose(smoke, tmp_path, SETTINGS, on_progress=lambda *done: seen.append(done), fingerprint="shapes-x")
    found = Proposals(file)
    found.verify()
    assert len(found) == 16 and seen == [(16, 16)]
    assert found.header["settings"]["size"] == 48 and found.header["dataset"] == "shapes-x"
    for record in smoke[:4]:
        boxes, _ = search(read_image(record["file_name"]), record["image_id"], Settings.of(SETTINGS))
        scale = np.array([record["width"], record["height"]] * 2) / 48
        assert np.allclose(found.boxes(record["image_id"]), boxes * scale, rtol=1e-6)
        assert found.boxes(record["image_id"]).dtype == np.float32
        assert found.size(record["image_id"]) == (record["height"], record["width"])
    assert not list(tmp_path.glob("*.shards")) and not list(tmp_path.glob(".*"))


def test_processes_and_order_change_nothing(smoke, tmp_path, few_a_shard):
    one = propose(smoke, tmp_path / "one", SETTINGS)
    two = propose(smoke[::-1], tmp_path / "two", SETTINGS, workers=2)
    assert Proposals(one).header["sha256"] == Proposals(two).header["sha256"]


def test_a_killed_run_goes_on_where_it_was(smoke, tmp_path, few_a_shard, monkeypatch):
    whole = Proposals(propose(smoke, tmp_path / "whole", SETTINGS)).header["sha256"]

    def interrupt(done, total):
        if done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        propose(smoke, tmp_path / "cut", SETTINGS, on_progress=interrupt)
    assert len(list((tmp_path / "cut").glob("*.shards/*.npz"))) == 2
    searched = []
    monkeypatch.setattr(proposals, "search", lambda *args: searched.append(args[1]) or search(*args))
    assert Proposals(propose(smoke, tmp_path / "cut", SETTINGS)).header["sha256"] == whole
    assert len(searched) == 6


def test_shards_of_other_settings_are_not_taken(smoke, tmp_path, few_a_shard):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        propose(smoke, tmp_path / "cut", {**SETTINGS, "size": 32}, on_progress=stop)
    mixed = Proposals(propose(smoke, tmp_path / "cut", SETTINGS))
    assert mixed.header["sha256"] == Proposals(propose(smoke, tmp_path / "new", SETTINGS)).header["sha256"]


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
    with pytest.raises(DataError, match="no proposals for image 16"):
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
    with pytest.raises(DataError, match=r"proposals for image 1: .*gone"):
        propose([{**smoke[0], "file_name": str(tmp_path / "gone.jpg")}], tmp_path / "other", SETTINGS)
