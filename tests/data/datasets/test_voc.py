"""Folders in VOC layout, and BCCD as the real one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from repro.data import datasets
from repro.data.dataset import Fault
from repro.data.datasets import bccd as bccd_module
from repro.data.datasets import voc
from repro.errors import DataError

XML = "<annotation><size><width>60</width><height>40</height></size>{}</annotation>"
OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox>"
    "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images; the third is in no split."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / "voc" / name).mkdir(parents=True)
    write(tmp_path / "voc", "a", OBJECT.format("dog", 0, 1, 1, 60, 40), OBJECT.format("cat", 1, 11, 21, 20, 30))
    write(tmp_path / "voc", "b")
    write(tmp_path / "voc", "c", OBJECT.format("zebra", 0, 1, 1, 5, 5))
    (tmp_path / "voc" / "ImageSets" / "Main" / "train.txt").write_text("b\na\n")
    return tmp_path / "voc"


def write(folder: Path, stem: str, *objects: str) -> None:
    (folder / "Annotations" / f"{stem}.xml").write_text(XML.format("".join(objects)))
    Image.new("RGB", (60, 40)).save(folder / "JPEGImages" / f"{stem}.jpg")


def test_boxes_become_zero_based_and_half_open(folder):
    name = f"voc:{folder}:train"
    first, second = datasets.load(name)
    assert datasets.class_names(name) == ("cat", "dog", "zebra")  # of the whole folder, whatever the split
    assert (first["image_id"], second["image_id"]) == (1, 2)  # positions among all files
    assert [entry["bbox"] for entry in first["annotations"]] == [[0, 0, 60, 40], [10, 20, 20, 30]]
    assert [(entry["category_id"], entry["difficult"]) for entry in first["annotations"]] == [(1, 0), (0, 1)]
    assert second["annotations"] == []
    assert len(datasets.load(f"voc:{folder}:all")) == 3


def test_an_image_with_an_unreadable_object_is_left_out_whole(folder):
    """Not with the objects that stand before it in the file."""
    whole = OBJECT.format("dog", 0, 1, 1, 60, 40)
    write(folder, "a", whole, "<object><name>cat</name></object>")
    write(folder, "b", whole)
    found = datasets.read(f"voc:{folder}:train", skip_bad=True)
    assert [len(record["annotations"]) for record in found.records] == [1]
    assert len(found.skipped) == 1
    assert "a.xml: malformed file" in found.skipped[0]


def test_the_evaluators_file(folder, tmp_path):
    file = datasets.annotation_file(f"voc:{folder}:train", tmp_path / "out")
    content = json.loads(file.read_text())
    assert [entry["bbox"] for entry in content["annotations"]] == [[0, 0, 60, 40], [10, 20, 10, 10]]
    assert [entry.get("ignore") for entry in content["annotations"]] == [None, 1]
    assert datasets.metadata(f"voc:{folder}:train")["category_ids"] == [1, 2, 3]
    before = file.stat().st_mtime_ns
    assert datasets.annotation_file(f"voc:{folder}:train", tmp_path / "out").stat().st_mtime_ns == before


def test_faults_name_file_and_object(folder):
    write(folder, "b", OBJECT.format("dog", 0, 5, 5, 5, 9), OBJECT.format("dog", 0, 5, 5, 70, 9))
    (folder / "Annotations" / "a.xml").write_text("<annotation>")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a\nb\nmissing\n")
    found = datasets.check(f"voc:{folder}:train")
    assert len(found) == 4
    assert [line for line in found if "b.xml, object 1 (dog): degenerate box" in line]
    assert [line for line in found if "b.xml, object 2 (dog): out-of-frame box" in line]
    assert [line for line in found if "a.xml: malformed file" in line]
    assert [line for line in found if "missing" in line and "missing.xml" in line]


def test_a_wrong_split_names_those_that_exist(folder):
    with pytest.raises(DataError, match="Splits there: train, all"):
        datasets.load(f"voc:{folder}:val")


def test_the_fingerprint_follows_annotations_and_images(folder):
    name = f"voc:{folder}:train"
    before = datasets.fingerprint(name)
    write(folder, "c")
    assert datasets.fingerprint(name) == before  # c is in no split
    write(folder, "b", OBJECT.format("dog", 0, 5, 5, 8, 9))
    changed = datasets.fingerprint(name)
    assert changed != before
    Image.effect_noise((60, 40), 80).convert("RGB").save(folder / "JPEGImages" / "b.jpg")
    assert datasets.fingerprint(name) != changed


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """VOCdevkit with two images of 2007 (one to test on) and two of 2012."""
    for year, stems in (("VOC2007", ("000001", "000002")), ("VOC2012", ("2008_000001", "2008_000002"))):
        place = tmp_path / "VOCdevkit" / year
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (place / name).mkdir(parents=True)
        for stem in stems:
            write(place, stem, OBJECT.format("dog", 0, 1, 1, 30, 40), OBJECT.format("cat", 1, 11, 21, 20, 30))
        lists = {"trainval": stems[:1], "test": stems[1:]} if year == "VOC2007" else {"trainval": stems}
        for split, listed in lists.items():
            (place / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(listed))
    return tmp_path / "VOCdevkit"


def test_the_devkit_is_prepared_and_its_trainval_sets_are_joined(devkit, tmp_path):
    root = tmp_path / "root"
    told = datasets.prepare("voc", devkit, root)
    assert len(told) == 3
    joint = datasets.load("voc_0712_trainval", root)
    assert [(record["image_id"], Path(record["file_name"]).name) for record in joint] == [
        (1, "000001.jpg"),
        (1_000_001, "2008_000001.jpg"),
        (1_000_002, "2008_000002.jpg"),
    ]
    assert all(Path(record["file_name"]).exists() for record in joint)
    assert [[entry["difficult"] for entry in record["annotations"]] for record in joint] == [[0, 1]] * 3  # trained on
    content = json.loads(datasets.annotation_file("voc_2007_test", root).read_text())
    assert [entry.get("ignore", 0) for entry in content["annotations"]] == [0, 1]
    assert len(content["categories"]) == 20
    assert datasets.check("voc_0712_trainval", root) == ["voc_0712_trainval: has 3 images, published are 16,551"]
    assert (
        len({entry["id"] for entry in datasets.find("voc_0712_trainval", root).source().annotations["annotations"]})
        == 6
    )


def test_published_sets_have_one_name_with_and_without_the_data(devkit, tmp_path, monkeypatch):
    names = [f"voc_{year}_{split}" for year, split in voc.COUNTS]
    published = [datasets.fingerprint(name, tmp_path / "nowhere") for name in [*names, "voc_0712_trainval"]]
    assert published[0] == "voc-2007-trainval-c52e27953178"
    assert published[-1] == f"{published[0]}+{published[2]}"
    replica = datasets.fingerprint("voc_2007_trainval", devkit)
    assert replica != published[0]
    monkeypatch.setitem(voc.COUNTS, ("2007", "trainval"), 1)
    assert datasets.fingerprint("voc_2007_trainval", devkit) == published[0]  # it has the published number now
    monkeypatch.undo()
    datasets.prepare("voc", devkit, tmp_path / "root")
    assert datasets.fingerprint("voc_2007_trainval", tmp_path / "root") == replica


def test_a_prepared_set_that_changed_is_noticed(devkit, tmp_path):
    root = tmp_path / "root"
    datasets.prepare("voc", devkit, root)
    names = ("voc_2012_trainval", "voc_0712_trainval")
    marks = [datasets.fingerprint(name, root) for name in names]
    for name, mark in zip(names, marks, strict=True):
        datasets.verify(name, mark, root)
    write(devkit / "VOC2012", "2008_000002")
    for name, mark in zip(names, marks, strict=True):
        with pytest.raises(DataError, match="changed since"):
            datasets.verify(name, mark, root)


def test_what_a_devkit_lacks_is_named(devkit, tmp_path):
    with pytest.raises(DataError, match=r"voc_2007_test: not found.*VOCtest_06-Nov-2007.*data prepare voc"):
        datasets.load("voc_2007_test", tmp_path / "root")
    with pytest.raises(DataError, match="neither"):
        datasets.prepare("voc", devkit / "VOC2007", tmp_path / "root")
    with pytest.raises(DataError, match="--from DIR"):
        datasets.prepare("voc", None, tmp_path / "root")


def test_bccds_own_boxes_score_full_marks_by_vocs_protocol(bccd, tmp_path):
    from repro.evaluation import voc as metric

    truth = datasets.annotation_file("bccd_test", tmp_path)
    objects = json.loads(truth.read_text())["annotations"]
    perfect = [{**entry, "score": 0.9} for entry in objects]
    assert metric.score(truth, perfect)["AP"] == pytest.approx(100)
    half = metric.score(truth, perfect[::2])
    assert 40 < half["AP50_area"] < 60 and half["AP"] < 65


def test_bccds_blemishes_are_reported(bccd):
    points = [f"voc:{bccd}:{split}" for split in ("train", "val", "test")]
    faults = [fault for name in points for fault in datasets.check(name, deep=True)]
    assert len(faults) == 2
    assert "BloodImage_00343.xml, object 4 (RBC): degenerate box" in faults[0]
    assert "BloodImage_00338.xml, object 13 (RBC): degenerate box" in faults[1]
    with pytest.raises(DataError, match="BloodImage_00343"):
        datasets.load(points[0])


def test_bccd_by_name_leaves_its_known_points_out(bccd, tmp_path):
    reports = [datasets.inspect(f"bccd_{split}", tmp_path) for split in ("train", "val", "test")]
    assert [report.images for report in reports] == [205, 87, 72]
    assert sum(report.annotations for report in reports) == 4886
    assert [len(report.known) for report in reports] == [1, 1, 0]
    assert not any(report.faults for report in reports)
    assert len(datasets.read("bccd_train", tmp_path).skipped) == 1
    content = json.loads(datasets.annotation_file("bccd_train", tmp_path).read_text())
    assert len(content["annotations"]) == reports[0].annotations


def test_only_these_two_points_are_known():
    where = "BCCD/Annotations/BloodImage_00343.xml, object 4 (RBC)"
    assert bccd_module.is_a_point(Fault("degenerate box", where, ""))
    assert not bccd_module.is_a_point(Fault("out-of-frame box", where, ""))
    assert not bccd_module.is_a_point(Fault("degenerate box", where.replace("343", "344"), ""))


def test_bccd_prepared_is_the_same_set_and_changes_are_noticed(bccd, tmp_path, monkeypatch):
    expected = datasets.fingerprint("bccd_val")
    monkeypatch.delenv("REPRO_BCCD")
    with pytest.raises(DataError, match="data prepare bccd"):
        datasets.load("bccd_val", tmp_path)
    small = tmp_path / "source"
    (small / "Annotations").mkdir(parents=True)
    for part in ("ImageSets", "JPEGImages"):
        (small / part).symlink_to(bccd / part)
    for file in (bccd / "Annotations").glob("*.xml"):
        shutil.copy(file, small / "Annotations")
    datasets.prepare("bccd", small, tmp_path)
    assert datasets.fingerprint("bccd_val", tmp_path) == expected
    datasets.verify("bccd_val", expected, tmp_path)
    victim = small / "Annotations" / "BloodImage_00338.xml"
    victim.chmod(0o644)
    victim.write_text(victim.read_text().replace("337", "350"))
    with pytest.raises(DataError, match="changed since it was prepared"):
        datasets.verify("bccd_val", expected, tmp_path)
