"""Claims: one process a stage, whoever dies, on whichever machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from repro.harness import claim
from repro.harness.claim import Attempt, Claim, HeldError


def test_only_one_of_many_takers_gets_a_stage(tmp_path: Path):
    first = Claim.acquire(tmp_path)
    with pytest.raises(HeldError, match=f"process {os.getpid()}"):
        Claim.acquire(tmp_path)
    first.release("failed")
    second = Claim.acquire(tmp_path)
    assert second.attempt.number == 2
    second.release("finished")
    assert claim.last(tmp_path).state == "finished"


def test_a_holder_on_another_machine_is_dead_when_its_heart_stops(tmp_path: Path):
    path = _forge(tmp_path, 1, place="another machine")
    with pytest.raises(HeldError):
        Claim.acquire(tmp_path)
    long_ago = time.time() - 2 * claim.STALE
    os.utime(path, (long_ago, long_ago))
    taken = Claim.acquire(tmp_path)
    assert taken.attempt.number == 2
    taken.release("finished")


def test_a_requeued_job_takes_over_from_its_former_self(tmp_path: Path):
    _forge(tmp_path, 1, place="a node that went down", job="12", restart=0)
    with pytest.raises(HeldError):
        Claim.acquire(tmp_path, job="13", restart=1)
    taken = Claim.acquire(tmp_path, job="12", restart=1)
    assert taken.attempt.number == 2
    taken.release("finished")


def test_the_newest_of_many_attempts_is_found(tmp_path: Path):
    for number in range(1, 40):
        _forge(tmp_path, number, pid=2**22 + 1)
        assert claim.last(tmp_path).number == number


def test_a_reused_process_number_is_not_the_holder(tmp_path: Path):
    living = Attempt(1, "here", claim._place(), os.getpid(), claim._born(os.getpid()), time.time())
    assert claim.alive(living, tmp_path)
    assert not claim.alive(replace(living, born=living.born - 1), tmp_path)


def test_a_dead_process_that_nobody_collected_is_not_the_holder(tmp_path: Path):
    """In containers the first process often collects nothing, and killed workers stay as zombies."""
    child = subprocess.Popen(["sleep", "60"])
    living = Attempt(1, "here", claim._place(), child.pid, claim._born(child.pid), time.time())
    assert claim.alive(living, tmp_path)
    child.kill()
    deadline = time.monotonic() + 10
    while claim.alive(living, tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert Path(f"/proc/{child.pid}").exists()  # it was not collected before
    child.wait()


def _forge(output: Path, number: int, **more) -> Path:
    """Write an attempt of somebody else's."""
    (output / "attempts").mkdir(parents=True, exist_ok=True)
    attempt = Attempt(
        number,
        more.get("host", "elsewhere"),
        more.get("place", claim._place()),
        more.get("pid", 1),
        more.get("born", 7),
        time.time(),
        more.get("job", ""),
        more.get("restart", 0),
    )
    path = output / "attempts" / f"{number}.json"
    path.write_text(json.dumps(attempt.__dict__))
    return path
