"""Stands in for the engine in SLURM tests: counts to a number, one atomic checkpoint a step, and notes each start.

It is copied into the project that the tests launch, so jobs import it from the snapshot.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

from repro.harness import atomic, record
from repro.harness.work import Work

VERSION = "as submitted"


def run(work: Work) -> None:
    """Count from the last checkpoint to ``steps``; the recipe says what goes wrong on the way.

    With ``until_restart`` the first start of a job never ends by itself.
    """
    began, recipe = datetime.now(UTC), work.stage.recipe
    if int(os.environ.get("RANK", "0")) == 0:
        _note(work.output / "starts", f"{os.environ['SLURM_JOB_ID']} {os.environ.get('SLURM_RESTART_COUNT', '0')}")
    if recipe.get("fork"):
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True).start()
    state = work.output / "checkpoint.json"
    step = (atomic.read_json(state) or {"step": 0})["step"]
    first_start = os.environ.get("SLURM_RESTART_COUNT", "0") == "0"
    while step < recipe.get("steps", 1) or (recipe.get("until_restart") and first_start):
        step += 1
        atomic.replace(state, json.dumps({"step": step}))
        _note(work.output / "steps", str(step))
        _go_wrong(work, step)
        time.sleep(recipe.get("pause", 0.0))
    _record(work, began, {"steps": float(step)})


def all_reduce(work: Work) -> None:
    """Sum the ranks over all processes with gloo; the first one records."""
    import torch
    import torch.distributed as dist

    began = datetime.now(UTC)
    dist.init_process_group("gloo")
    total = torch.tensor(float(dist.get_rank() + 1))
    dist.all_reduce(total)
    dist.barrier()
    if dist.get_rank() == 0:
        _record(work, began, {"sum": float(total), "world": float(dist.get_world_size())})
    dist.destroy_process_group()


def mixed(work: Work) -> None:
    """Do what the recipe asks for."""
    (all_reduce if work.stage.recipe.get("all_reduce") else run)(work)


def _go_wrong(work: Work, step: int) -> None:
    recipe = work.stage.recipe
    rank = int(os.environ.get("RANK", "0"))
    if recipe.get("fail_at") == step and not Path(recipe["unless"]).exists():
        raise ValueError("the loss is not finite")
    if recipe.get("kill_at") == step:
        os.kill(os.getpid(), signal.SIGKILL)
    if recipe.get("rank_fails") == rank:
        raise ValueError(f"rank {rank} fails")


def _note(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def _record(work: Work, began: datetime, metrics: dict[str, float]) -> None:
    weights = work.output / "model_final.pth"
    weights.write_text(json.dumps(metrics))
    seconds = (datetime.now(UTC) - began).total_seconds()
    about = {"checkpoint": record.describe(weights, work.output), "remark": VERSION}
    record.write(record.of(work, metrics=metrics, started=began, seconds=seconds, **about), work.records)
