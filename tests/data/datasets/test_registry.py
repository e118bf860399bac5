"""Data sets by name: finding, preparing, fingerprints, and the names that carry a path."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from repro.data import datasets
from repro.data.dataset import datasets_root, writable_root
from repro.errors import DataError


def test_names_cover_every_family():
    found = datasets.names()
    assert {"shapes_tiny_train", "coco_2017_train", "voc_2007_trainval", "bccd_test"} <= set(found)


def test_a_wrong_name_gets_the_nearest_one():
    with pytest.raises(DataError, match="Did you mean shapes_tiny_train"):
        datasets.load("shape_tiny_train")
    with pytest.raises(DataError, match="Did you mean bccd"):
        datasets.prepare("bcd")


def test_fingerprints_need_neither_torch_nor_data(tmp_path):
    code = (
        "import sys; from repro.data import datasets\n"
        "print(datasets.fingerprint('coco_2017_train'), datasets.fingerprint('shapes_small_val'))\n"
        "assert not {'torch', 'detectron2'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "coco-2017-train-f4bbac642086-cced6f7f71b7"
    assert not list(tmp_path.iterdir())


def test_missing_coco_says_where_it_was_looked_for(tmp_path):
    report = datasets.inspect("coco_2017_val", tmp_path)
    assert not report.present
    assert str(tmp_path / "coco" / "annotations" / "instances_val2017.json") in report.faults[0]
    assert str(tmp_path / "coco" / "val2017") in report.looked_for
    with pytest.raises(DataError, match="DETECTRON2_DATASETS"):
        datasets.annotation_file("coco_2017_val", tmp_path)


def test_incomplete_coco_is_counted_and_its_empty_boxes_are_known(coco_folder, tmp_path):
    coco_folder.image(1)
    coco_folder.box(1, [5, 5, 0, 10])
    coco_folder.write()
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    (coco_folder.folder / "instances.json").rename(tmp_path / "coco" / "annotations" / "instances_val2017.json")
    coco_folder.images.rename(tmp_path / "coco" / "val2017")
    report = datasets.inspect("coco_2017_val", tmp_path)
    assert len(report.known) == 1 and "degenerate box" in report.known[0]
    assert [fault.split(": ", 1)[1] for fault in report.faults] == [
        "has 1 images, published are 5,000",
        "has 1 annotations, published are 36,781",
    ]
    assert len(datasets.load("coco_2017_val", tmp_path)) == 1


def test_coco_has_detectron2s_classes():
    from detectron2.data import MetadataCatalog

    assert list(datasets.class_names("coco_2017_train")) == MetadataCatalog.get("coco_2017_train").thing_classes
    about = datasets.metadata("coco_2017_train")  # without a file
    assert about["category_ids"][-1] == 90 and about["thing_classes"][-1] == "toothbrush"


def test_paths_in_names_are_expanded_late(coco_folder, monkeypatch):
    coco_folder.image(1)
    coco_folder.write()
    monkeypatch.setenv("MY_DATA", str(coco_folder.folder))
    assert len(datasets.load("coco:$MY_DATA/instances.json:${MY_DATA}/images")) == 1
    monkeypatch.delenv("MY_DATA")
    with pytest.raises(DataError, match="MY_DATA"):
        datasets.load("coco:$MY_DATA/instances.json:$MY_DATA/images")
    for name in ("coco:one", "voc:one", "coco::"):
        with pytest.raises(DataError, match="is named"):
            datasets.fingerprint(name)


def test_the_fingerprint_of_a_file_follows_its_content(coco_folder):
    coco_folder.image(1)
    name = coco_folder.write()
    before = datasets.fingerprint(name)
    datasets.verify(name, before)
    coco_folder.box(1, [0, 0, 5, 5])
    assert datasets.fingerprint(coco_folder.write()) != before
    with pytest.raises(DataError, match="the plan was made with"):
        datasets.verify(name, before)


def test_generated_data_that_were_changed_are_noticed(tmp_path):
    mark = datasets.fingerprint("shapes_smoke_val", tmp_path)
    file = datasets.annotation_file("shapes_smoke_val", tmp_path)
    datasets.verify("shapes_smoke_val", mark, tmp_path)
    content = json.loads(file.read_text())
    content["info"]["version"] = "shapes-v0"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="changed since"):
        datasets.verify("shapes_smoke_val", mark, tmp_path)


def test_roots(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_OUTPUT", str(tmp_path / "out"))
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert datasets_root() == tmp_path / "out" / "datasets"
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "d2"))
    assert datasets_root() == writable_root() == tmp_path / "d2"
    assert datasets_root(tmp_path / "given") == tmp_path / "given"
    monkeypatch.setattr("os.access", lambda *args: False)
    assert writable_root() == tmp_path / "out" / "datasets"


def test_detectron2s_catalogue_serves_them(shapes_root):
    from detectron2.data import DatasetCatalog, MetadataCatalog

    datasets.register_all(shapes_root)
    datasets.register_all(shapes_root)
    assert len(DatasetCatalog.get("shapes_smoke_val")) == 8
    assert MetadataCatalog.get("shapes_smoke_val").thing_classes[0] == "bar"


def test_prepare_links_or_copies(tmp_path):
    source = tmp_path / "elsewhere"
    for name in ("annotations", "train2017", "val2017"):
        (source / name).mkdir(parents=True)
    (source / "val2017" / "a").write_text("x")
    assert len(datasets.prepare("coco", source, tmp_path / "linked")) == 3
    assert (tmp_path / "linked" / "coco" / "val2017").is_symlink()
    datasets.prepare("coco", source, tmp_path / "copied", copy=True)
    assert (tmp_path / "copied" / "coco" / "val2017" / "a").read_text() == "x"
    assert not (tmp_path / "copied" / "coco" / "val2017").is_symlink()
    assert "already" in datasets.prepare("coco", source, tmp_path / "linked")[0]
    with pytest.raises(DataError, match="2 faults"):
        datasets.prepare("coco", _without(source, "train2017", "val2017"), tmp_path / "third")
    with pytest.raises(DataError, match="--from"):
        datasets.prepare("bccd", None, tmp_path)


def _without(source: Path, *names: str) -> Path:
    other = source.with_name("incomplete")
    for path in source.iterdir():
        if path.name not in names:
            (other / path.name).mkdir(parents=True)
    return other
