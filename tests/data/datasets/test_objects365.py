"""Objects365 on replicas of its two layouts, and the generated images that stand in for it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from repro.data import datasets
from repro.data.datasets import objects365, shapes
from repro.errors import DataError

CATEGORIES = [{"id": 3, "name": "Chair"}, {"id": 1, "name": "Person"}, {"id": 2, "name": "Sneakers"}]
NAMES = {
    "v1": "obj365_train_{:012d}.jpg",
    "v2": "images/v1/patch6/objects365_v1_{:08d}.jpg",
}


def replica(folder, version, split="train", first=320_530):
    """Four images, the third of which the second version lists without having it."""
    images, annotations = [], []
    for number in range(first, first + 4):
        name = NAMES[version].format(number)
        images.append({"id": number, "file_name": name, "height": 20, "width": 30, "license": 5, "url": ""})
        annotations.append(
            {"id": number, "image_id": number, "category_id": 3, "bbox": [1.5, 2.0, 10.0, 8.0], "area": 80.0,
             "iscrowd": 0, "isfake": 0, "isreflected": 0}
        )  # fmt: skip
        path = folder / split / objects365.placed(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if version == "v1" or number != 320_532:
            Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    annotations.append({**annotations[0], "id": 1, "bbox": [25.0, 2.0, 10.0, 8.0]})  # leaves the image, as some do
    file = folder / "annotations" / objects365.FILES[version].format(split=split)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    return file


@pytest.mark.parametrize(("version", "count"), [("v1", 4), ("v2", 3)])
def test_a_replica_is_prepared_and_read(tmp_path, version, count):
    source, root, name = tmp_path / "source", tmp_path / "root", f"objects365_{version}_train"
    replica(source, version)
    assert datasets.fingerprint(name, root) == f"objects365-{version}-train"
    told = datasets.prepare("objects365", source, root)
    assert f"{name}: 4 images" in told
    mark = datasets.fingerprint(name, root)
    assert mark.startswith(f"objects365-{version}-train-")  # four are not all of them
    found = datasets.read(name, root)
    assert len(found.records) == count and len(found.skipped) == 5 - count
    assert all(len(record["annotations"]) == 1 for record in found.records)
    assert found.records[0]["annotations"][0]["category_id"] == 2  # Chair: by ascending id
    assert datasets.class_names(name, root) == ("Person", "Sneakers", "Chair")
    datasets.verify(name, mark, root)


def test_what_is_not_published_stops_a_run(tmp_path):
    source, root = tmp_path / "source", tmp_path / "root"
    file = replica(source, "v1")
    datasets.prepare("objects365", source, root)
    (source / "train" / NAMES["v1"].format(320_531)).unlink()
    with pytest.raises(DataError, match=r"000000320531\.jpg does not exist"):
        datasets.read("objects365_v1_train", root)
    file.write_text(file.read_text().replace("1.5", "2.5"))
    with pytest.raises(DataError, match="changed since it was prepared"):
        datasets.verify("objects365_v1_train", datasets.fingerprint("objects365_v1_train", root), root)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"objects365\.org.*data prepare objects365"):
        datasets.load("objects365_v2_train", tmp_path / "root")
    with pytest.raises(DataError, match="--from DIR"):
        datasets.prepare("objects365", None, tmp_path / "root")
    with pytest.raises(DataError, match=r"none of objects365_train\.json, .*zhiyuan_objv2_val\.json"):
        datasets.prepare("objects365", tmp_path, tmp_path / "root")
    for version in ("v1", "v2"):
        replica(tmp_path / "source", version)
    with pytest.raises(DataError, match="both versions"):
        datasets.prepare("objects365", tmp_path / "source", tmp_path / "root")


def test_generated_images_stand_in_with_finer_classes_and_without_masks():
    classes = shapes.describe_objects365("smoke").classes
    assert len(classes) == len(set(classes)) == 2 * len(shapes.CLASSES)
    seen = set()
    for index in range(12):
        pixels, objects = shapes.objects365_image("smoke", index)
        area = pixels.shape[0] * pixels.shape[1]
        for entry in objects:
            large = entry["bbox"][2] * entry["bbox"][3] > shapes.LARGE * area
            assert classes[entry["category_id"] - 1].startswith("large" if large else "small")
            assert "segmentation" not in entry
            seen.add(large)
    assert seen == {True, False}
    assert not np.array_equal(shapes.objects365_image("smoke", 0)[0], shapes.image("smoke", "train", 0)[0])
