"""Two processes give what one gives: sums over objects are normalised over all of them, and detections are gathered."""

import dataclasses
import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from repro.engine import checkpoint, distributed, stage

from .conftest import Bench, record_of

SETTINGS = {
    "train.iterations": 4,
    "train.checkpoint_period": 2,
    # Square views: each process pads its own images only, and what lies at their borders depends on it.
    "data.mapper.augmentation.crop": 1.0,
    "data.mapper.augmentation.crop_size": [48, 48],
    "data.mapper.augmentation.short_edges": [64],
}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture(scope="module")
def pairs(chain, tmp_path_factory, datasets_root):
    """A training and an evaluation, each run by one process and by two: kind to both works."""
    bench = Bench(tmp_path_factory.mktemp("distributed"), datasets_root)
    at = {"output_root": chain["encoder"].output_root, "records": chain["encoder"].records}
    train = dataclasses.replace(bench.work("finetune", [chain["pretrain"]], settings=SETTINGS), **at)
    one, two = bench.elsewhere(train, "one"), bench.elsewhere(train, "two")
    scored = bench.elsewhere(chain["evaluate"], "scored")
    stage.run(one)
    run_with_two([two, scored])
    return {"finetune": (one, two), "evaluate": (chain["evaluate"], scored)}


SCRIPT = """
import faulthandler, sys
faulthandler.dump_traceback_later(90)
from repro.engine import stage
from repro.harness.work import Work
for text in sys.argv[1:]:
    stage.run(Work.from_json(text))
"""


def run_with_two(works):
    """Run stages with two processes, as SLURM's tasks would: two interpreters, and the variables that torchrun sets."""
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SCRIPT, *(work.to_json() for work in works)],
            env=os.environ | address | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        assert [child.wait(100) for child in children] == [0, 0]
    finally:
        for child in children:
            child.kill()


def losses(work):
    lines = (work.output / "metrics.json").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k.startswith(("loss", "total"))} for line in lines]


def test_two_processes_train_as_one_does(pairs):
    one, two = pairs["finetune"]
    assert len(losses(one)) == 4
    for ours, theirs in zip(losses(one), losses(two), strict=True):
        assert theirs == pytest.approx(ours, rel=1e-3)
    assert losses(two)[0] == pytest.approx(losses(one)[0], rel=1e-5)
    weights = checkpoint.load(two.output / checkpoint.FINAL)["model"]
    assert weights.keys() == checkpoint.load(one.output / checkpoint.FINAL)["model"].keys()  # no prefix of the wrapper
    assert record_of(two).hardware["processes"] == 2
    assert (two.output / "log.rank1.txt").is_file()


def test_two_processes_score_as_one_does(pairs):
    one, two = pairs["evaluate"]
    assert record_of(two).metrics == pytest.approx(record_of(one).metrics, abs=1e-3, nan_ok=True)
    assert record_of(two).hardware["processes"] == 2


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    distributed.join(torch.device("cpu"))
    assert not torch.distributed.is_initialized()
    values = torch.tensor([1.0, 2.0])
    assert distributed.mean(values) is values


def test_the_device_is_chosen():
    assert distributed.choose_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert distributed.choose_device(None).type == expected
