"""Proposing for a whole set: resumable, the same however the work is shared, and flat in memory."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from repro.data import shards as stage
from repro.data.images import read_image
from repro.data.proposals import Proposals
from repro.data.propose import Method
from repro.errors import DataError
from repro.ops import selective_search as operator

from .conftest import propose

SETTINGS = {"size": 48, "mode": "single"}
needs_operator = pytest.mark.skipif(not operator.available(), reason="selective_search is not built: repro ops build")


def checksum(*args, **kwargs) -> str:
    return Proposals(propose(*args, **kwargs)).header["sha256"]


@needs_operator
@pytest.mark.parametrize(
    "settings",
    [
        {"size": 48, "mode": "single", "engine": "native", "ranking": "level"},
        {
            "size": None,
            "mode": "single",
            "engine": "native",
            "ranking": "level",
            "channel_order": "BGR",
            "max_boxes": 9,
        },
        {"method": "edge_boxes", "edges": "sobel", "min_box_area": 100},
        {"method": "random", "max_boxes": 12},
    ],
)
def test_every_method_is_read_back_as_found(smoke, tmp_path, settings):
    method = Method.of(settings)
    found = Proposals(propose(smoke[:5], tmp_path, settings, shards=2, fingerprint="x"))
    found.verify()
    assert (found.header["method"], found.header["ranking"]) == (method.name, method.settings.ranking)
    drawn = 0
    for record in smoke[:5]:
        expected = method.search(read_image(record["file_name"]), record["image_id"])
        side = method.settings.size
        scale = 1 if side is None else np.array([record["width"], record["height"]] * 2) / side
        boxes = found.boxes(record["image_id"])
        assert np.allclose(boxes, expected.boxes * scale, rtol=1e-6)
        again = found.redraw(record["image_id"], np.random.default_rng(0))
        assert np.array_equal(np.unique(again, axis=0), np.unique(boxes, axis=0))
        drawn += not np.array_equal(again, boxes)
    assert (drawn > 0) == (method.name == "selective_search")


def test_shards_workers_and_order_change_nothing(smoke, tmp_path):
    one = checksum(smoke, tmp_path / "one", SETTINGS)
    assert one == checksum(smoke[::-1], tmp_path / "two", SETTINGS, shards=5, workers=2)
    assert one == checksum(smoke, tmp_path / "three", SETTINGS, shards=100)
    assert one == checksum(smoke, tmp_path / "again", SETTINGS)
    assert (tmp_path / "one" / "proposals.npz").read_bytes() == (tmp_path / "again" / "proposals.npz").read_bytes()


def test_whoever_comes_does_what_is_left_and_the_first_joins_it(smoke, tmp_path):
    seen: list[tuple[int, int]] = []
    share = {"shards": 6, "on_progress": lambda *done: seen.append(done)}
    file = propose(smoke, tmp_path, SETTINGS, process=(2, 3), **share)
    assert not file.exists() and not seen  # the first process reports for all
    shards = sorted(tmp_path.glob("*.shards/*"))
    assert [path.suffix for path in shards] == [".npz"] * 6  # and no lease is left
    shards[1].unlink()
    assert propose(smoke, tmp_path, SETTINGS, process=(0, 3), **share) == file
    assert seen[-1] == (16, 16)
    assert Proposals(file).header["sha256"] == checksum(smoke, tmp_path / "alone", SETTINGS)
    propose(smoke, tmp_path, SETTINGS, process=(1, 3), **share)  # one that comes late finds nothing to do
    assert not list(tmp_path.glob("*.shards"))


def counted(monkeypatch, also=lambda image_id: None) -> list[int]:
    """Image ids that are searched from now on."""
    searched: list[int] = []
    search = Method.search

    def count(self, image, image_id):
        searched.append(image_id)
        also(image_id)
        return search(self, image, image_id)

    monkeypatch.setattr(Method, "search", count)
    return searched


def test_shards_in_others_hands_are_left_to_them_until_they_stay_silent(smoke, tmp_path, monkeypatch):
    propose(smoke, tmp_path, SETTINGS, shards=4, process=(1, 2))
    done = sorted(tmp_path.glob("*.shards/*.npz"))
    leases = [path.with_suffix(".lease") for path in done[:2]]
    for path, one in zip(done, leases, strict=False):
        path.unlink()
        one.write_text("7 alive")
    searched, waited = counted(monkeypatch), []

    def an_hour_passes(seconds):
        waited.append(list(searched))
        os.utime(leases[len(waited) - 1], (0, 0))

    monkeypatch.setattr(stage.time, "sleep", an_hour_passes)
    propose(smoke, tmp_path, SETTINGS, shards=4, process=(1, 2))
    assert searched == []  # a helper does not wait for anybody
    file = propose(smoke, tmp_path, SETTINGS, shards=4, process=(0, 2))
    ids = sorted(record["image_id"] for record in smoke)
    assert waited == [[], ids[:4]] and searched == ids[:8]
    assert Proposals(file).header["sha256"] == checksum(smoke, tmp_path / "alone", SETTINGS)


def test_a_killed_process_loses_the_shard_in_its_hands(smoke, tmp_path, monkeypatch):
    """Killed as a queue kills, without a last word; it comes back and need not wait for its own lease."""

    def die(image_id):
        if len(searched) == 7:
            os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        searched = counted(patch, die)
        share = {"shards": 4, "process": (1, 2)}
        child = multiprocessing.get_context("fork").Process(
            target=propose, args=(smoke, tmp_path, SETTINGS), kwargs=share
        )
        child.start()
        child.join()
    assert child.exitcode == -signal.SIGKILL
    assert sorted(path.suffix for path in tmp_path.glob("*.shards/*")) == [".lease", ".npz"]
    searched = counted(monkeypatch)
    propose(smoke, tmp_path, SETTINGS, **share)
    assert len(searched) == 12
    assert len(list(tmp_path.glob("*.shards/*.npz"))) == 4 == len(list(tmp_path.glob("*.shards/*")))


class Overtaken:
    """Finds the number of its call, and during its first one somebody else does the same shard."""

    def __init__(self, file) -> None:
        self.job, self.calls = stage.Job((("a.png", 1),), self, file), 0

    def find(self, images, alive):
        self.calls += 1
        call = self.calls
        if call == 1:
            stage.shard(self.job)
        return {"boxes": np.array([call])}


def test_of_two_who_do_a_shard_the_first_counts(tmp_path):
    """A detector may find something else on another GPU, and who joins may be reading the first one's."""
    finder = Overtaken(tmp_path / "000000-x.npz")
    stage.shard(finder.job)
    assert finder.calls == 2
    assert np.load(finder.job.file)["boxes"].tolist() == [2]
    assert [path.name for path in tmp_path.iterdir()] == [finder.job.file.name]


def test_without_hard_links_the_first_counts_too(tmp_path, monkeypatch):
    def refused(source, target):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(stage.os, "link", refused)
    test_of_two_who_do_a_shard_the_first_counts(tmp_path)


def test_a_straggler_whose_work_was_done_without_it_goes_quietly(smoke, tmp_path, monkeypatch):
    """It was taken for dead, and meanwhile the others have joined everything."""
    whole = checksum(smoke, tmp_path / "whole", SETTINGS, shards=4)

    def meanwhile(image_id):
        if len(searched) == 2:
            shutil.rmtree(tmp_path / "proposals.shards")
            shutil.copy(tmp_path / "whole" / "proposals.npz", tmp_path)

    searched = counted(monkeypatch, meanwhile)
    file = propose(smoke, tmp_path, SETTINGS, shards=4, process=(1, 2))
    assert len(searched) == 4 and not list(tmp_path.glob("*.shards"))
    assert Proposals(file).header["sha256"] == whole


def test_a_killed_run_goes_on_where_it_was(smoke, tmp_path, monkeypatch):
    whole = checksum(smoke, tmp_path / "whole", SETTINGS)

    def interrupt(done, total):
        if done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        propose(smoke, tmp_path / "cut", SETTINGS, shards=3, on_progress=interrupt)
    assert len(list((tmp_path / "cut").glob("*.shards/*.npz"))) == 2
    searched = []
    search = Method.search
    monkeypatch.setattr(Method, "search", lambda self, *args: searched.append(args[1]) or search(self, *args))
    assert checksum(smoke, tmp_path / "cut", SETTINGS, shards=3) == whole
    assert len(searched) == 6
    assert checksum(smoke, tmp_path / "cut", SETTINGS, shards=3) == whole and len(searched) == 6  # killed after joining


def test_shards_of_other_settings_or_data_are_not_taken(smoke, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    for settings, fingerprint in (({**SETTINGS, "size": 32}, ""), (SETTINGS, "other")):
        with pytest.raises(KeyboardInterrupt):
            propose(smoke, tmp_path / "cut", settings, shards=3, fingerprint=fingerprint, on_progress=stop)
    assert len(list((tmp_path / "cut").glob("*.shards/*.npz"))) == 2
    mixed = Proposals(propose(smoke, tmp_path / "cut", SETTINGS, shards=3)).header
    assert mixed["sha256"] == checksum(smoke, tmp_path / "new", SETTINGS) and mixed["settings"]["size"] == 48


class Many(Sequence):
    """Records that are made when they are asked for, ids in no order."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return {"file_name": f"{index}.jpg", "image_id": index * 7919 % self.count}


BOXES = np.array([[3, 4, 50, 60], [0, 0, 128, 128], [100, 1, 101, 99], [7, 7, 8, 8]])


def synthetic(job: stage.Job) -> stage.Job:
    """A shard in which every image has the same four boxes of two regions each, and is 400×300."""
    count = len(job.images)
    arrays = {
        "boxes": np.tile(BOXES.astype(np.uint8), (count, 1)),
        "counts": np.full(4 * count, 2, np.uint8),
        "levels": np.ones(8 * count, np.uint16),
        "offsets": np.arange(count + 1) * 4,
        "level_offsets": np.arange(count + 1) * 8,
        "image_ids": np.array([image_id for _, image_id in job.images]),
        "sizes": np.tile(np.uint32([300, 400]), (count, 1)),
    }
    job.file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(job.file, **arrays)
    return job


def test_a_hundred_thousand_images_take_no_memory_to_speak_of(tmp_path, monkeypatch):
    """What grows with the number of images is ids and places, a few bytes an image; to open a file, nothing."""
    monkeypatch.setattr(stage, "shard", synthetic)
    peaks, opening = [], []
    tracemalloc.start()
    for count in (10_003, 100_003):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        file = propose(Many(count), tmp_path / str(count), {"size": 128}, shards=count // 500)
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
        assert file.stat().st_size < count * (4 * 5 + 8 * 2 + 4 * 8) + 5_000
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        read = pickle.loads(pickle.dumps(Proposals(file)))  # as a worker gets it
        scale = np.array([400, 300, 400, 300]) / 128
        assert np.array_equal(read.boxes(7_777), (BOXES * scale).astype(np.float32))
        opening.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 90_000 < 64
    assert abs(opening[1] - opening[0]) < 20_000
    read.verify()
    assert len(read) == 100_003 and (np.diff(read.image_ids) == 1).all()


def test_types_are_as_small_as_the_sides_allow(smoke, tmp_path):
    small = np.load(propose(smoke[:2], tmp_path / "small", SETTINGS))
    whole = np.load(propose(smoke[:2], tmp_path / "whole", {**SETTINGS, "size": None}))
    assert set(small) == {*Proposals.ARRAYS, "header"}
    assert small["boxes"].dtype == np.uint8 and whole["boxes"].dtype == np.uint16
    assert small["counts"].dtype == np.uint8 and small["levels"].dtype == np.uint16


@pytest.mark.parametrize(
    "settings, more, words",
    [
        ({"method": "selectiv_search"}, {}, "Did you mean selective_search"),
        ({"method": "random", "size": 3}, {}, "random has no setting size"),
        ({"mod": "fast"}, {}, "Did you mean mode"),
        ({}, {"shards": 0}, "number of shards"),
        ({"ranking": "level"}, {}, "engine opencv has no ranking level"),
    ],
)
def test_wrong_settings_are_named(smoke, tmp_path, settings, more, words):
    with pytest.raises(DataError, match=words):
        propose(smoke, tmp_path, settings, **more)


def test_a_missing_image_is_named(smoke, tmp_path):
    records = [{**smoke[0], "file_name": str(tmp_path / "gone.jpg")}, *smoke[1:]]
    with pytest.raises(DataError, match=r"proposals for image 1: .*gone"):
        propose(records, tmp_path / "other", SETTINGS, shards=2)
