"""A kill at any byte leaves a loadable checkpoint, and random states come back as they were."""

import os
import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from repro.engine import checkpoint
from repro.errors import StageError


def state(value):
    return {"model": {"w": torch.full((1000,), float(value))}, "iteration": value}


def test_the_newest_complete_checkpoint_is_found_and_older_ones_are_removed(tmp_path):
    for iteration in (5, 10, 15):
        checkpoint.save_periodic(state(iteration), tmp_path, iteration)
    assert [path.name for path in checkpoint.periodic(tmp_path)] == ["checkpoint_00000015.pth"]
    assert checkpoint.latest(tmp_path)["iteration"] == 15
    assert checkpoint.latest(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_write_cut_off_at_any_byte_leaves_the_previous_one(tmp_path, share, monkeypatch):
    checkpoint.save_periodic(state(5), tmp_path, 5)
    real = torch.save

    def cut_off(content, file):
        real(content, file)
        file.flush()
        os.ftruncate(file.fileno(), int(file.tell() * share))
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save_periodic(state(10), tmp_path, 10)
    assert checkpoint.latest(tmp_path)["iteration"] == 5


def test_a_process_killed_while_writing_leaves_the_previous_one(tmp_path):
    checkpoint.save_periodic(state(5), tmp_path, 5)
    script = """
        import os, signal, sys, pathlib, torch
        from repro.engine import checkpoint
        real = os.fsync
        def kill(fd):  # everything but the end is written
            os.ftruncate(fd, os.fstat(fd).st_size - 10)
            os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = kill
        checkpoint.save_periodic({"iteration": 10, "w": torch.zeros(10)}, pathlib.Path(sys.argv[1]), 10)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert any(
        path.name.endswith(".tmp") for path in tmp_path.iterdir()
    )  # the cut-off file is there, under another name
    assert checkpoint.latest(tmp_path)["iteration"] == 5
    checkpoint.clean(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_newest_checkpoint_is_passed_over(tmp_path):
    checkpoint.save(state(5), tmp_path / "checkpoint_00000005.pth")
    whole = (tmp_path / "checkpoint_00000005.pth").read_bytes()
    (tmp_path / "checkpoint_00000010.pth").write_bytes(whole[: len(whole) // 2])  # a disk that lied
    assert checkpoint.latest(tmp_path)["iteration"] == 5


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(StageError, match=r"nothing\.pth"):
        checkpoint.load(tmp_path / "nothing.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(StageError, match=r"text\.pth"):
        checkpoint.load(tmp_path / "text.pth")


def test_random_states_survive_the_file(tmp_path):
    torch.manual_seed(1)
    np.random.seed(2)  # noqa: NPY002
    random.seed(3)
    random.gauss(0, 1)  # leaves a second value behind

    def draw():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.gauss(0, 1), random.random()  # noqa: NPY002

    saved = checkpoint.load(checkpoint.save({"random": checkpoint.random_state()}, tmp_path / "a.pth"))
    first = draw()
    assert draw() != first
    checkpoint.restore_random_state(saved["random"])
    assert draw() == first
