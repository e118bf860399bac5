"""Which images a stage read is written down beside its outputs, and in its record."""

import dataclasses
import json

from repro.data import datasets, splits
from repro.engine import inputs

from .conftest import record_of


def test_the_label_share_that_was_drawn_is_kept_as_an_id_list(chain, datasets_root):
    work = chain["finetune"]
    entry = record_of(work).artifacts["images"]
    kept = splits.load(work.output / entry["file"])
    every = [record["image_id"] for record in datasets.load("shapes_smoke_train", datasets_root)]
    assert kept == splits.percent(every, 25, work.stage.seed)
    assert len(kept) == 4


def test_a_stage_that_reads_everything_has_no_list(chain):
    assert set(record_of(chain["propose"]).artifacts) == {"proposals"}
    assert set(record_of(chain["evaluate"]).artifacts) == {"detections"}


def share_of(work):
    """What a stage would train on, without training."""
    work.output.mkdir(parents=True)
    return inputs.share(work), work.output / inputs.FILES["images"]


def test_a_number_of_images_is_drawn_with_the_stages_seed(bench, datasets_root):
    work = bench.work("finetune", recipe="detreg/finetune_coco_images.py", settings={"data.images": 5}, seed=3)
    records, file = share_of(work)
    every = [record["image_id"] for record in datasets.load("shapes_smoke_train", datasets_root)]
    assert [record["image_id"] for record in records] == splits.number(every, 5, 3) == splits.load(file)
    assert json.loads(file.read_text())["images"] == 5


def test_shots_are_those_of_the_stages_seed_and_one_box_a_record_is_a_switch(bench, datasets_root):
    def shots(seed, one_box_a_record=False):
        settings = {"data.shots": 3, "data.one_box_a_record": one_box_a_record}
        return share_of(bench.work("finetune", recipe="detreg/finetune_coco_shots.py", settings=settings, seed=seed))

    together, file = shots(4)
    assert list(together) == datasets.load("shapes_fewshot_smoke_train_3shot_seed4", datasets_root)
    assert splits.load(file) == [record["image_id"] for record in together]
    apart, _ = shots(4, one_box_a_record=True)
    assert len(apart) == sum(len(record["annotations"]) for record in together) > len(together)
    assert all(len(record["annotations"]) == 1 for record in apart)
    assert shots(5)[0] != together


def test_a_set_that_is_read_from_an_index_is_not_looked_through(bench, monkeypatch):
    from repro.data import records

    listed = [{"image_id": number, "annotations": []} for number in range(3)]
    indexed = dataclasses.replace(datasets.find("shapes_smoke_train"), records=lambda: listed)
    monkeypatch.setattr(datasets, "find", lambda *args: indexed)
    monkeypatch.setattr(records, "read", None)
    assert share_of(bench.work("pretrain"))[0] is listed
