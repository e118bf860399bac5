"""Which images a stage read is written down beside its outputs, and in its record."""

from repro.data import datasets, splits

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
