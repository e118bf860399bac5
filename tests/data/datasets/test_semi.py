"""unlabeled2017, lists of labelled images, and the generated images that stand in for unlabelled ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from repro.data import datasets, splits
from repro.data.datasets import semi, shapes
from repro.errors import DataError


def pictures(folder, count):
    from PIL import Image

    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        Image.fromarray(np.full((20, 30, 3), number, np.uint8)).save(folder / f"{number:012d}.jpg")
    return [
        {"id": number, "file_name": f"{number:012d}.jpg", "height": 20, "width": 30} for number in range(1, count + 1)
    ]


def test_unlabelled_images_are_adopted_and_take_cocos_categories(tmp_path):
    source, root = tmp_path / "source", tmp_path / "root"
    images = pictures(source / "unlabeled2017", 3)
    (source / "annotations").mkdir()
    listed = source / "annotations" / "image_info_unlabeled2017.json"
    listed.write_text(json.dumps({"images": images, "info": {}}))  # as published: neither annotations nor categories
    assert datasets.fingerprint("coco_2017_unlabeled", root) == semi.PUBLISHED
    told = datasets.prepare("semi", source, root)
    assert "3 images" in told
    mark = datasets.fingerprint("coco_2017_unlabeled", root)
    assert mark.startswith("coco-2017-unlabeled-") and mark != semi.PUBLISHED  # three are not all of them
    loaded = datasets.load("coco_2017_unlabeled", root)
    assert [record["image_id"] for record in loaded] == [1, 2, 3]
    assert not any(record["annotations"] for record in loaded)
    assert datasets.class_names("coco_2017_unlabeled", root)[0] == "person"
    datasets.verify("coco_2017_unlabeled", mark, root)
    listed.write_text(json.dumps({"images": images[:2]}))
    with pytest.raises(DataError, match="changed since it was prepared"):
        datasets.verify("coco_2017_unlabeled", mark, root)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"image_info_unlabeled2017\.json"):
        datasets.load("coco_2017_unlabeled", tmp_path)
    with pytest.raises(DataError, match=r"instances_train2017\.json does not exist, and no --from DIR"):
        datasets.prepare("semi", None, tmp_path)
    (tmp_path / "source" / "unlabeled2017").mkdir(parents=True)
    with pytest.raises(DataError, match="none of image_info"):
        datasets.prepare("semi", tmp_path / "source", tmp_path / "root")


def test_stacs_lists_are_what_a_stage_draws(tmp_path):
    file = tmp_path / "coco" / "annotations" / "instances_train2017.json"
    file.parent.mkdir(parents=True)
    ids = [int(one) for one in np.random.default_rng(0).permutation(3000)[:300]]  # in no order, as COCO's are
    file.write_text(json.dumps({"images": [{"id": one} for one in ids], "annotations": [], "categories": []}))
    assert len(datasets.prepare("semi", None, tmp_path)) == 20
    for percent in semi.PERCENT:
        for fold in (1, 5):
            written = splits.load(tmp_path / "coco" / "semi_supervised" / f"stac.{fold}@{percent}.json")
            assert written == splits.stac(ids, percent, fold)


def test_published_lists_are_adopted(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    names = ["instances_train2017.1@10.json", "COCO_supervision.txt"]
    for name in [*names, "instances_train2017.1@10-unlabeled.json", "other.txt"]:
        (source / name).write_text("{}")
    told = datasets.prepare("semi", source, tmp_path / "root")
    assert sorted(path.name for path in (tmp_path / "root" / "coco" / "semi_supervised").iterdir()) == sorted(names)
    assert "data.split" in told[-1]


def test_a_list_is_no_data_set(tmp_path):
    splits.save(tmp_path / "1@10.json", [1])
    name = f"split:10:{tmp_path}/{{fold}}@{{percent}}.json"
    assert datasets.fingerprint(name).startswith("split-")
    with pytest.raises(DataError, match="not a data set"):
        datasets.load(name)
    with pytest.raises(DataError, match="split:<percent>:<file>"):
        datasets.find("split:ten:x")


def test_generated_unlabelled_images_are_others_of_the_same_kind(shapes_root):
    unlabelled = datasets.load("shapes_unlabelled_smoke", shapes_root)
    assert len(unlabelled) == shapes.SIZES["smoke"].train
    assert not any(record["annotations"] for record in unlabelled)
    assert len(datasets.class_names("shapes_unlabelled_smoke", shapes_root)) == len(shapes.CLASSES)
    first, _ = shapes.unlabelled_image("smoke", 0)
    labelled, _ = shapes.image("smoke", "train", 0)
    assert first.shape != labelled.shape or (first != labelled).any()
