"""Stages from start to record: every kind once, and what a kill, a retry or other data change."""

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from repro.data import datasets, splits
from repro.data.proposals import Proposals
from repro.engine import checkpoint, stage
from repro.errors import DataError, StageError
from repro.harness import record

from .conftest import progress_of, record_of


def test_every_kind_of_stage_leaves_its_outputs_and_a_record(chain):
    for kind, work in chain.items():
        found = record_of(work)
        assert found.kind == kind
        assert found.recipe == work.stage.recipe
        assert found.origin == "retrained"
        assert found.datasets == work.stage.datasets
        assert found.seconds > 0
        assert "torch" in found.versions
        assert found.hardware["gpus"] == 0
        for entry in found.files():
            assert checkpoint.sha256(work.output / entry["file"]) == entry["sha256"]
        assert json.loads((work.output / "stage.json").read_text())["recipe"] == work.stage.recipe
        assert (work.output / "log.txt").stat().st_size > 0
        assert checkpoint.periodic(work.output) == []
        progress = progress_of(work)
        assert progress["iteration"] == progress["iterations"] > 0
    assert record.verify(chain["encoder"].records) == []


def test_a_label_share_is_kept_as_an_id_list(chain):
    """Fine-tuning reads a quarter of the 16 images at this scale; pretraining reads all, and needs no list."""
    found = record_of(chain["finetune"])
    ids = splits.load(chain["finetune"].output / found.artifacts["images"]["file"])
    assert ids == splits.percent(range(1, 17), 25, found.seed)
    assert "images" not in record_of(chain["pretrain"]).artifacts


def test_what_is_left_out_of_a_faulty_data_set_is_kept(chain, bench, tmp_path):
    """One box outside its image: refused, or with ``skip_bad`` named in a file of the record."""
    root = chain["evaluate"].datasets_root
    truth = json.loads(datasets.annotation_file("shapes_smoke_val", root).read_text())
    truth["annotations"][0]["bbox"][0] = 1e6
    (tmp_path / "faulty.json").write_text(json.dumps(truth))
    images = Path(datasets.load("shapes_smoke_val", root)[0]["file_name"]).parent
    name = f"coco:{tmp_path / 'faulty.json'}:{images}"
    work = bench.work("evaluate", [chain["finetune"]], settings={"data.dataset": name})
    work = bench.elsewhere(_at(work, chain), "faulty")
    work = dataclasses.replace(work, stage=dataclasses.replace(work.stage, datasets={name: datasets.fingerprint(name)}))
    with pytest.raises(DataError, match=r"(?s)data\.skip_bad: true.*out-of-frame box"):
        stage.run(work)
    work.stage.recipe["data"]["skip_bad"] = True
    stage.run(work)
    kept = json.loads((work.output / record_of(work).artifacts["skipped"]["file"]).read_text())
    assert kept["dataset"] == name
    assert "out-of-frame box" in kept["skipped"][0]
    assert "skipped" not in record_of(chain["evaluate"]).artifacts


def test_proposals_say_which_data_they_were_made_for(chain):
    header = Proposals(chain["propose"].output / "proposals.npz").header
    assert [header["dataset"]] == list(chain["propose"].stage.datasets.values())


def test_a_helper_does_its_share_and_records_nothing(chain, bench):
    work = bench.elsewhere(chain["propose"], "shared")
    helper = dataclasses.replace(work, share=(1, 2))
    stage.run(helper)
    assert record_of(work) is None
    assert sorted(path.name for path in work.output.iterdir()) == ["log.job1.txt", "proposals.shards"]
    stage.run(dataclasses.replace(work, share=(0, 2)))
    assert record_of(work).files() == record_of(chain["propose"]).files()
    assert record_of(work).hardware["processes"] == 2


def test_metrics_are_named_as_tables_name_them(chain):
    metrics = record_of(chain["evaluate"]).metrics
    assert 0 <= metrics["coco_box.AP"] <= 100
    assert {"coco_box.AP50", "coco_box.AR100"} <= set(metrics)
    assert record_of(chain["evaluate"]).implementation["coco_box"] == "hotcoco"
    assert record_of(chain["evaluate"]).implementation["ms_deform_attn"] in ("native", "reference")
    assert "ms_deform_attn" not in record_of(chain["encoder"]).implementation  # which has no such layer
    pretraining = record_of(chain["pretrain"])
    assert pretraining.iterations == 2
    assert {"last.loss_ce", "last.loss_bbox", "last.loss_giou", "last.loss_embedding"} <= set(pretraining.metrics)
    assert all(np.isfinite(value) for value in pretraining.metrics.values())


def test_equal_stages_give_equal_files(chain, bench):
    """The same weights and the same detections, bit for bit, in another folder."""
    for kind in ("finetune", "evaluate"):
        again = bench.elsewhere(chain[kind], f"again-{kind}")
        stage.run(again)
        first, second = record_of(chain[kind]), record_of(again)
        assert second.metrics == first.metrics
        assert second.files() == first.files()


def test_another_seed_gives_other_weights(chain, bench):
    work = bench.elsewhere(chain["finetune"], "seed")
    other = dataclasses.replace(work, stage=dataclasses.replace(work.stage, seed=work.stage.seed + 1))
    stage.run(other)
    assert record_of(other).checkpoint["sha256"] != record_of(chain["finetune"]).checkpoint["sha256"]


def kill_when(work, ready):
    """Run the stage in a child, kill it outright when ``ready`` says so, and return whether it was still running."""
    # Not forked: an earlier test may have brought up autograd's threads, which a fork cannot take over.
    child = multiprocessing.get_context("spawn").Process(target=stage.run, args=(work,))
    child.start()
    deadline = time.monotonic() + 60
    while child.is_alive() and not ready() and time.monotonic() < deadline:
        time.sleep(0.002)
    alive = child.is_alive()
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    return alive


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_to_the_same_weights(chain, bench, workers):
    settings = {
        "train.iterations": 30,
        "train.checkpoint_period": 2,
        "data.workers": workers,
        "model.transformer.decoder.dropout": 0.1,  # so that the random states matter
    }
    work = bench.work("finetune", [chain["pretrain"]], settings=settings)
    whole, parts = bench.elsewhere(_at(work, chain), "whole"), bench.elsewhere(_at(work, chain), "parts")
    assert kill_when(parts, lambda: len(checkpoint.periodic(parts.output)) > 0)
    assert record_of(parts) is None
    reached = checkpoint.latest(parts.output)["iteration"]
    assert 0 < reached < 30
    stage.run(parts)
    stage.run(whole)
    assert record_of(parts).checkpoint == record_of(whole).checkpoint
    assert record_of(parts).metrics == record_of(whole).metrics


def test_workers_do_not_change_a_result(chain, bench):
    records = []
    for workers in (0, 2):
        settings = {"train.iterations": 3, "data.workers": workers}
        work = bench.work("finetune", [chain["pretrain"]], settings=settings)
        work = bench.elsewhere(_at(work, chain), f"workers-{workers}")
        stage.run(work)
        records.append(record_of(work))
    assert records[0].signature == records[1].signature
    assert records[0].checkpoint == records[1].checkpoint


def _at(work, chain):
    """A stage whose parents lie in the chain's folder."""
    return dataclasses.replace(work, output_root=chain["pretrain"].output_root, records=chain["pretrain"].records)


def test_other_data_than_the_plan_was_made_with_are_refused(chain, bench):
    work = bench.elsewhere(chain["evaluate"], "data")
    planned = {name: f"{mark}-of-old" for name, mark in work.stage.datasets.items()}
    work = dataclasses.replace(work, stage=dataclasses.replace(work.stage, datasets=planned))
    with pytest.raises(DataError, match=r"the plan was made with .*-of-old"):
        stage.run(work)
    assert record_of(work) is None


def test_an_unknown_kind_is_named(chain):
    work = chain["evaluate"]
    with pytest.raises(StageError, match="Did you mean evaluate"):
        stage.run(dataclasses.replace(work, stage=dataclasses.replace(work.stage, kind="evaluat")))


def test_threads_and_loggers_are_put_back(chain, bench):
    import logging

    import torch

    torch.set_num_threads(2)
    try:
        before = [len(logging.getLogger(name).handlers) for name in ("repro", "detectron2")]
        stage.run(bench.elsewhere(chain["evaluate"], "threads"))
        assert torch.get_num_threads() == 2
        assert [len(logging.getLogger(name).handlers) for name in ("repro", "detectron2")] == before
    finally:
        torch.set_num_threads(1)


def damaged(root, name):
    """A COCO-layout copy of the generated images, with a truncated file and a box of no size."""
    from repro.data import datasets

    source = datasets.annotation_file("shapes_smoke_train", root)
    folder = root / name
    shutil.copytree(source.parent, folder)
    truth = json.loads((folder / "instances.json").read_text())
    truth["annotations"][0]["bbox"][2] = 0
    bad = truth["images"][5]
    (folder / "instances.json").write_text(json.dumps(truth))
    image = folder / "images" / bad["file_name"]
    image.write_bytes(image.read_bytes()[:200])
    return f"coco:{folder / 'instances.json'}:{folder / 'images'}", bad["file_name"]


def test_bad_data_stop_a_stage_or_are_left_out_and_recorded(bench, datasets_root):
    dataset, image = damaged(datasets_root, "damaged")
    strict = bench.work("propose", settings={"data.dataset": dataset}, datasets={})
    with pytest.raises(DataError, match=image):
        stage.run(strict)
    lenient = bench.work("propose", settings={"data.dataset": dataset, "data.skip_bad": True}, datasets={})
    stage.run(lenient)
    found = record_of(lenient)
    assert found.iterations == 15
    listed = json.loads((lenient.output / found.artifacts["skipped"]["file"]).read_text())["skipped"]
    assert len(listed) == 2
    assert image in listed[0]
    assert "annotation 1: degenerate box" in listed[1]
