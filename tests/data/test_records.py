"""Bad data are found in one pass, named with file and id, and can be left out."""

from __future__ import annotations

import json

import pytest

from repro.data import datasets, records
from repro.errors import DataError


def damage(folder) -> dict[str, str]:
    """A set with one fault of (nearly) every kind: kind → words that its message must hold."""
    folder.image(1)
    folder.box(1, [5, 5, 10, 10])
    folder.image(2).unlink()
    file = folder.image(3)
    file.write_bytes(file.read_bytes()[:-200])
    folder.image(4)
    folder.content["images"][-1]["width"] = 61
    folder.content["images"].append({"id": 1, "file_name": "again.jpg", "height": 40, "width": 60})
    expected = {
        "missing image": "2.jpg",
        "truncated image": "3.jpg",
        "wrong size": "60×40",
        "duplicate image id": "again.jpg",
    }
    expected["degenerate box"] = f"annotation {folder.box(1, [5, 5, 0, 10])}"
    expected["out-of-frame box"] = f"annotation {folder.box(1, [50, 5, 12, 10])}"
    expected["no box"] = f"annotation {folder.box(1, [])}"
    expected["unknown category"] = f"annotation {folder.box(1, [1, 1, 5, 5], category=99)}"
    expected["unknown image"] = f"annotation {folder.box(77, [1, 1, 5, 5])}"
    expected["duplicate annotation id"] = "annotation 100"
    folder.content["annotations"].append({**folder.content["annotations"][0]})
    expected["malformed entry"] = "entry 7 of annotations"
    folder.content["annotations"].append({"image_id": 1, "bbox": "five"})
    return expected


def test_every_fault_is_found_in_one_pass_and_named(coco_folder):
    expected = damage(coco_folder)
    with pytest.raises(DataError) as error:
        datasets.load(coco_folder.write())
    lines = str(error.value).splitlines()[1:]
    assert len(lines) == len(expected)
    for kind, words in expected.items():
        assert [line for line in lines if f": {kind}: " in line and words in line], (kind, words)
    assert set(expected) | {"malformed file"} == set(records.KINDS)


def test_skip_bad_keeps_what_is_sound_and_says_what_it_left_out(coco_folder):
    expected = damage(coco_folder)
    found = datasets.read(coco_folder.write(), skip_bad=True)
    assert [record["image_id"] for record in found.records] == [1]
    assert [entry["bbox"] for entry in found.records[0]["annotations"]] == [[5, 5, 15, 15]]
    assert len(found.skipped) == len(expected)
    assert not [line for line in found.skipped if str(coco_folder.folder) in line]  # records are committed


def test_images_without_objects_stay(coco_folder):
    coco_folder.image(1)
    assert datasets.load(coco_folder.write())[0]["annotations"] == []


def test_categories_are_numbered_by_ascending_id(coco_folder):
    coco_folder.image(1)
    coco_folder.box(1, [0, 0, 9, 9], category=7)
    name = coco_folder.write()
    about = datasets.metadata(name)
    assert about["thing_classes"] == ["dog", "cat"]
    assert about["category_ids"] == [3, 7]
    assert datasets.load(name)[0]["annotations"][0]["category_id"] == 1


@pytest.mark.parametrize(
    "box, clipped", [([-0.5, 0, 10, 10], [0, 0, 9.5, 10]), ([50, 30, 10.4, 10.9], [50, 30, 60, 40])]
)
def test_boxes_that_leave_the_frame_by_a_rounding_are_clipped(box, clipped):
    assert records.framed(box, 40, 60) == (clipped, None)


def test_nan_is_a_degenerate_box():
    assert records.framed([float("nan"), 0, 5, 5], 40, 60)[1][0] == "degenerate box"


def test_malformed_json_is_named(coco_folder):
    name = coco_folder.write()
    file = coco_folder.folder / "instances.json"
    file.write_text(file.read_text()[:-10])
    with pytest.raises(DataError, match=r"instances\.json is malformed JSON"):
        datasets.load(name)
    file.write_text(json.dumps({"images": []}))
    with pytest.raises(DataError, match="no list annotations, categories"):
        datasets.load(name)


def test_a_missing_folder_is_one_fault(coco_folder):
    for image_id in range(30):
        coco_folder.image(image_id).unlink()
    name = coco_folder.write()
    coco_folder.images.rmdir()
    assert len(datasets.check(name)) == 1


def test_many_faults_of_a_kind_are_counted_but_check_lists_all(coco_folder):
    for image_id in range(30):
        coco_folder.image(image_id).unlink()
    coco_folder.image(99)
    name = coco_folder.write()
    with pytest.raises(DataError, match="10 more of kind “missing image”"):
        datasets.load(name)
    assert len(datasets.check(name)) == 30


def test_the_evaluators_file_holds_what_was_kept(coco_folder, tmp_path):
    damage(coco_folder)
    name = coco_folder.write()
    file = datasets.annotation_file(name, tmp_path / "out", skip_bad=True)
    content = json.loads(file.read_text())
    assert [image["id"] for image in content["images"]] == [1]
    assert [(entry["bbox"], entry["category_id"]) for entry in content["annotations"]] == [([5, 5, 10, 10], 3)]
    assert [category["id"] for category in content["categories"]] == [3, 7]
