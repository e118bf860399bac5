"""TFA's split in its true layout, and the generated sets of the same make."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from repro.data import datasets, splits
from repro.data.datasets import coco, fewshot
from repro.errors import DataError

CATEGORIES = coco.categories()
NAMES = {category["id"]: category["name"] for category in CATEGORIES}


def image(number: int) -> dict[str, Any]:
    part = "train" if number % 2 else "val"
    return {"id": number, "file_name": f"COCO_{part}2014_{number:012d}.jpg", "height": 40, "width": 60}


def box(number: int, image_id: int, category: int) -> dict[str, Any]:
    place = {"bbox": [number % 30, 5, 10 + number % 7, 20], "area": 200, "iscrowd": 0}
    return {"id": number, "image_id": image_id, "category_id": category, **place}


@pytest.fixture
def tfa(tmp_path: Path) -> Path:
    """160 images of two years, a few boxes on each, and draws of 1 and 2 shots with seeds 0 and 3."""
    folder = tmp_path / "fsdet"
    images = [image(number) for number in range(1, 161)]
    for one in images:
        year = folder / "coco" / one["file_name"].split("_")[1]
        year.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(year / one["file_name"])
    boxes = [box(n, 1 + n % 159, CATEGORIES[n % 80]["id"]) for n in range(1, 400)]
    test = [box(n, 160, CATEGORIES[n]["id"]) for n in range(3)]
    write(folder / "cocosplit" / "datasplit" / "trainvalno5k.json", images[:-1], boxes)
    write(folder / "cocosplit" / "datasplit" / "5k.json", images[-1:], test)
    for seed, place in ((0, ""), (3, "seed3/")):
        for shots in (1, 2):
            for category in CATEGORIES:
                own = [one for one in boxes if one["category_id"] == category["id"]][seed % 2 :][:shots]
                shown = [image(one["image_id"]) for one in own]
                name = f"{place}full_box_{shots}shot_{category['name']}_trainval.json"
                write(folder / "cocosplit" / name, shown, own)
    return folder


def write(file: Path, images: list[dict], annotations: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))


def test_the_novel_classes_are_those_of_the_split():
    novel = {1, 2, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19, 20, 21, 44, 62, 63, 64, 67, 72}
    assert {key for key, name in NAMES.items() if name in fewshot.NOVEL} == novel
    assert len(set(fewshot.NOVEL)) == 20


def test_a_replica_is_prepared_and_read(tfa, tmp_path):
    root = tmp_path / "root"
    told = datasets.prepare("fewshot", tfa, root)
    assert "159 images to train on, 1 to test on; draws of seeds [0, 3]" in " ".join(told)
    pool, base, test = (datasets.load(f"coco_fewshot_{part}", root) for part in ("train", "base", "test"))
    assert (len(pool), len(test)) == (159, 1)
    assert Path(pool[0]["file_name"]).parent.name == "train2014"
    names = datasets.class_names("coco_fewshot_base", root)
    shown = {names[entry["category_id"]] for record in base for entry in record["annotations"]}
    assert len(names) == 80 and len(shown) == 60 and not shown & set(fewshot.NOVEL)
    assert all(record["annotations"] for record in base) and len(base) < len(pool)
    assert datasets.metadata("coco_fewshot_test", root)["category_ids"][-1] == 90
    assert not datasets.inspect("coco_fewshot_train", root).faults


@pytest.mark.parametrize(("shots", "seed"), [(1, 0), (2, 0), (2, 3)])
def test_a_draw_has_its_boxes_once_and_all_of_an_image_together(tfa, tmp_path, shots, seed):
    datasets.prepare("fewshot", tfa, tmp_path / "root")
    records = datasets.load(fewshot.drawn("coco_fewshot_train", shots, seed), tmp_path / "root")
    per_class = Counter(entry["category_id"] for record in records for entry in record["annotations"])
    assert per_class == dict.fromkeys(range(80), shots)
    assert len({record["image_id"] for record in records}) == len(records)
    if shots == 2:
        assert max(len(record["annotations"]) for record in records) > 1
    apart = splits.one_box_each(records)
    assert len(apart) == 80 * shots and all(len(record["annotations"]) == 1 for record in apart)


def test_draws_of_other_seeds_differ_and_changes_are_noticed(tfa, tmp_path):
    root = tmp_path / "root"
    datasets.prepare("fewshot", tfa, root)
    boxes = [
        sorted(tuple(entry["bbox"]) for record in datasets.load(name, root) for entry in record["annotations"])
        for name in ("coco_fewshot_train_1shot_seed0", "coco_fewshot_train_1shot_seed3")
    ]
    assert boxes[0] != boxes[1]
    mark = datasets.fingerprint("coco_fewshot_train", root)
    datasets.verify("coco_fewshot_train", mark, root)
    victim = tfa / "cocosplit" / "seed3" / "full_box_2shot_zebra_trainval.json"
    victim.write_text(victim.read_text().replace('"area": 200', '"area": 201'))
    with pytest.raises(DataError, match="changed since"):
        datasets.verify("coco_fewshot_train", mark, root)


def test_what_is_missing_is_named(tfa, tmp_path):
    root = tmp_path / "root"
    with pytest.raises(DataError, match="ucbdrive/few-shot-object-detection"):
        datasets.load("coco_fewshot_train", root)
    datasets.prepare("fewshot", tfa, root)
    with pytest.raises(DataError, match=r"full_box_30shot_person_trainval\.json does not exist"):
        datasets.load("coco_fewshot_train_30shot_seed0", root)
    with pytest.raises(DataError, match="1, 2, 3, 5, 10, 30 shots"):
        datasets.load("coco_fewshot_train_4shot_seed0", root)
    victim = tfa / "cocosplit" / "full_box_1shot_zebra_trainval.json"
    write(victim, [image(1), image(2)], [box(1, 1, 24), box(2, 2, 24)])
    with pytest.raises(DataError, match=r"zebra_trainval\.json has 2 boxes, not 1"):
        datasets.load("coco_fewshot_train_1shot_seed0", root)
    for file in (tfa / "cocosplit").glob("full_box*zebra*"):
        file.unlink()
    with pytest.raises(DataError, match="no draw of seed 0"):
        datasets.prepare("fewshot", tfa, root)
    (tfa / "cocosplit" / "datasplit" / "5k.json").unlink()
    with pytest.raises(DataError, match=r"5k\.json does not exist"):
        datasets.prepare("fewshot", tfa, root)


def test_images_of_both_years_may_lie_in_one_folder(tfa, tmp_path):
    root = tmp_path / "root"
    together = root / "coco" / "trainval2014"
    together.mkdir(parents=True)
    for file in (tfa / "coco").rglob("*.jpg"):
        file.rename(together / file.name)
    datasets.prepare("fewshot", tfa, root)
    assert Path(datasets.load("coco_fewshot_test", root)[0]["file_name"]).parent == together


def test_generated_sets_of_the_same_make(shapes_root):
    novel = set(fewshot.NOVEL_SHAPES)
    names = datasets.class_names("shapes_fewshot_tiny_base", shapes_root)
    base = datasets.load("shapes_fewshot_tiny_base", shapes_root)
    assert {names[entry["category_id"]] for record in base for entry in record["annotations"]} == set(names) - novel
    draws = {}
    for shots, seed in ((10, 0), (30, 0), (10, 1)):
        records = datasets.load(fewshot.drawn("shapes_fewshot_tiny_train", shots, seed), shapes_root)
        counts = Counter(entry["category_id"] for record in records for entry in record["annotations"])
        assert counts == dict.fromkeys(range(8), shots)
        draws[shots, seed] = {
            (record["image_id"], *entry["bbox"]) for record in records for entry in record["annotations"]
        }
    assert draws[10, 0] < draws[30, 0] and draws[10, 1] - draws[10, 0]
    few = datasets.load("shapes_fewshot_smoke_train_30shot_seed0", shapes_root)  # 16 images have not as many
    assert 0 < len(few) <= 16
    test = "shapes_fewshot_smoke_test"
    assert datasets.annotation_file(test, shapes_root) == datasets.annotation_file("shapes_smoke_val", shapes_root)
    marks = [datasets.fingerprint(f"shapes_fewshot_tiny_{part}") for part in ("train", "base", "test")]
    assert len({*marks, datasets.fingerprint("shapes_fewshot_tiny_train_10shot_seed0")}) == 4
