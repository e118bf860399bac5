"""What a task of a SLURM job tells torch.distributed."""

from __future__ import annotations

import os

import pytest

from repro.harness.launch import distributed


def test_torchs_environment_comes_from_slurms(slurm_task, monkeypatch):
    slurm_task(NTASKS="12", PROCID="9", LOCALID="1", NODEID="1", JOB_ID="77", STEP_NODELIST="gpu[007-008]")
    slurm_task(STEP_TASKS_PER_NODE="8,4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert distributed.export() == 9
    expected = {"RANK": "9", "LOCAL_RANK": "1", "WORLD_SIZE": "12", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "gpu007"}
    assert {name: os.environ[name] for name in expected} == expected
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"  # a job that was given GPU 3 must not move to GPU 1
    port = os.environ["MASTER_PORT"]
    slurm_task(PROCID="0", LOCALID="0")
    assert distributed.export() == 0
    assert os.environ["MASTER_PORT"] == port  # the same for all tasks
    slurm_task(RESTART_COUNT="1")
    distributed.export()
    assert os.environ["MASTER_PORT"] != port  # the old one may still be in use
    monkeypatch.setenv("REPRO_MASTER_ADDR", "127.0.0.1")
    distributed.export()
    assert os.environ["MASTER_ADDR"] == "127.0.0.1"


def test_a_job_of_one_task_is_not_distributed(slurm_task):
    slurm_task(NTASKS="1", PROCID="0")
    assert distributed.export() == 0
    assert "RANK" not in os.environ


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n1,n2", "n1"), ("gpu[07-09,12]", "gpu07"), ("gpu[3,5],x", "gpu3"), ("a[1-2]-ib", "a1-ib")],
)
def test_the_first_host_of_a_node_list(nodes: str, first: str):
    assert distributed.first_host(nodes) == first
