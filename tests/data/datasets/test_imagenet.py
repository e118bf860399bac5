"""ImageNet's layout: looked through once, resumable, and opened for nothing; a hundred classes out of it."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.data import datasets, image_index, splits
from repro.data.datasets import imagenet, imagenet100
from repro.errors import DataError

OTHERS = ("n00000001", "n13133613")  # not among the hundred: before and behind them


def write_class(train: Path, name: str, images: int = 2) -> None:
    (train / name).mkdir(parents=True)
    for number in range(images):
        size = (20 + number, 30 + int(name[-1]))
        Image.new("RGB", size, (number * 40, 90, 10)).save(train / name / f"{name}_{number}.JPEG")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """All hundred classes of IN100 with an image each, and two other classes with three."""
    train = tmp_path / "ILSVRC2012" / "train"
    for name in OTHERS:
        write_class(train, name, 3)
    for name in imagenet100.SYNSETS:
        write_class(train, name, 1)
    return train.parent


def test_the_list_is_the_published_one():
    text = "".join(f"{name}\n" for name in imagenet100.SYNSETS)
    assert hashlib.sha256(text.encode()).hexdigest().startswith("5ee5db69d488bb799a286d8e181801c3d02798776c1ce9203e")
    assert len(set(imagenet100.SYNSETS)) == 100


def test_both_sets_from_one_folder(tree, tmp_path):
    root, heard = tmp_path / "root", []
    datasets.prepare("imagenet", tree, root, progress=lambda *told: heard.append(told))
    assert heard[-1] == ("classes", 101, 102)
    everything = datasets.load("imagenet_train", root)
    assert len(everything) == 106
    first, last = everything[0], everything[-1]
    assert first == {
        "file_name": str(root / "imagenet" / "train" / "n00000001" / "n00000001_0.JPEG"),
        "image_id": 0,
        "height": 31,
        "width": 20,
        "annotations": [],
    }
    assert Path(last["file_name"]).name == "n13133613_2.JPEG" and last["image_id"] == 105
    assert [record["image_id"] for record in everything] == list(range(106))
    datasets.prepare("imagenet100", None, root)
    hundred = datasets.load("imagenet100_train", root)
    assert [Path(record["file_name"]).parent.name for record in hundred] == list(imagenet100.SYNSETS)
    assert [record["image_id"] for record in hundred] == list(range(100))
    assert not datasets.inspect("imagenet100_train", root).faults[1:]  # but for the number of images
    assert datasets.fingerprint("imagenet_train", root) != imagenet._published()  # a replica is not called ImageNet
    assert datasets.fingerprint("imagenet_train", tmp_path / "nowhere") == imagenet._published()


def test_a_folder_with_the_hundred_alone_is_the_same_set(tree, tmp_path):
    datasets.prepare("imagenet", tree, tmp_path / "all")
    datasets.prepare("imagenet100", None, tmp_path / "all")
    for name in OTHERS:
        shutil.rmtree(tree / "train" / name)
    datasets.prepare("imagenet100", tree / "train", tmp_path / "alone")  # the folder of class folders will do
    assert len({datasets.fingerprint("imagenet100_train", tmp_path / one) for one in ("all", "alone")}) == 1
    ids = [
        [(record["image_id"], Path(record["file_name"]).name) for record in datasets.load("imagenet100_train", root)]
        for root in (tmp_path / "all", tmp_path / "alone")
    ]
    assert ids[0] == ids[1]


def test_a_list_of_ones_own(tree, tmp_path, monkeypatch):
    datasets.prepare("imagenet", tree, tmp_path)
    (tmp_path / "mine.txt").write_text("n13133613\nn00000001\n")
    monkeypatch.setenv("MINE", str(tmp_path))
    found = datasets.load("imagenet:$MINE/mine.txt", tmp_path)
    assert [record["file_name"][-16:-5] for record in found[::3]] == ["n00000001_0", "n13133613_0"]
    mark = datasets.fingerprint("imagenet:$MINE/mine.txt", tmp_path)
    (tmp_path / "mine.txt").write_text("n00000001\n")
    assert datasets.fingerprint("imagenet:$MINE/mine.txt", tmp_path) != mark
    (tmp_path / "mine.txt").write_text("tench\n")
    with pytest.raises(DataError, match="n01440764"):
        datasets.load("imagenet:$MINE/mine.txt", tmp_path)
    (tmp_path / "mine.txt").write_text("n09999999\n")
    with pytest.raises(DataError, match="no class n09999999"):
        datasets.load("imagenet:$MINE/mine.txt", tmp_path)


def test_records_are_a_sequence_that_workers_can_take_along(tree, tmp_path):
    datasets.prepare("imagenet", tree, tmp_path)
    records = datasets.load("imagenet_train", tmp_path)
    assert list(records) == records[:] == [records[number] for number in range(len(records))]
    assert records[-1] == records[105] and records[np.int64(3)] == records[3]
    with pytest.raises(IndexError):
        records[106]
    assert pickle.loads(pickle.dumps(records))[50] == records[50]
    assert len(pickle.dumps(records)) < 3_000  # the classes, and no image
    chosen = splits.percent((record["image_id"] for record in records), 10, 0)
    assert [record["image_id"] for record in splits.select(records, chosen)] == chosen


def test_a_killed_preparation_goes_on_where_it_was(tree, tmp_path, monkeypatch):
    looked = []
    original = image_index._look

    def look(images, name, file, pool):
        if len(looked) == 10:
            raise KeyboardInterrupt
        looked.append(name)
        original(images, name, file, pool)

    monkeypatch.setattr(image_index, "_look", look)
    with pytest.raises(KeyboardInterrupt):
        datasets.prepare("imagenet", tree, tmp_path)
    with pytest.raises(DataError, match=r"image-net\.org"):
        datasets.load("imagenet_train", tmp_path)
    looked.clear()
    monkeypatch.setattr(image_index, "_look", lambda *args: (looked.append(args[1]), original(*args)))
    datasets.prepare("imagenet", tree, tmp_path)
    assert len(looked) == 92
    assert not list((tmp_path / "imagenet").glob("*.parts"))
    assert len(datasets.load("imagenet_train", tmp_path)) == 106


def test_what_is_missing_or_broken_is_named(tree, tmp_path):
    victim = tree / "train" / imagenet100.SYNSETS[3]
    file = next(victim.iterdir())
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match=rf"class {victim.name}.*\n.*{file.name}: truncated"):
        datasets.prepare("imagenet", tree, tmp_path)
    shutil.rmtree(victim)
    with pytest.raises(DataError, match=f"{victim.name} does not exist"):
        datasets.prepare("imagenet100", tree, tmp_path)
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no class folder"):
        datasets.prepare("imagenet", tmp_path / "empty", tmp_path / "b")
    with pytest.raises(DataError, match="train does not exist"):
        datasets.prepare("imagenet", tmp_path / "b", tmp_path / "c")


def test_images_that_were_exchanged_are_noticed_when_the_index_is(tree, tmp_path):
    datasets.prepare("imagenet", tree, tmp_path)
    mark = datasets.fingerprint("imagenet_train", tmp_path)
    datasets.verify("imagenet_train", mark, tmp_path)
    shutil.rmtree(tmp_path / "imagenet" / "train.index")
    write_class(tree / "train", "n00000002", 1)
    image_index.build(
        tree / "train", [*OTHERS, "n00000002", *imagenet100.SYNSETS], tmp_path / "imagenet" / "train.index"
    )
    with pytest.raises(DataError, match="changed since"):
        datasets.verify("imagenet_train", mark, tmp_path)
