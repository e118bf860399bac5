"""torch.distributed's environment, from what SLURM gives every task; torch itself is not needed.

CUDA_VISIBLE_DEVICES is left alone: without device cgroups a job that was given GPU 1 would move to GPU 0 if every
task took the device of its local rank's number. A task uses the ``LOCAL_RANK``-th *visible* device.
"""

from __future__ import annotations

import os
import random
import re

# Where host names of the allocation do not resolve (several virtual nodes on one machine).
ADDRESS = "REPRO_MASTER_ADDR"


def export() -> int:
    """Set RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT for a job of several tasks.

    Returns:
        This task's rank; 0, with nothing set, for a job of one task.
    """
    world = int(os.environ.get("SLURM_NTASKS") or os.environ.get("SLURM_NPROCS") or 1)
    if world <= 1:
        return 0
    rank = int(os.environ["SLURM_PROCID"])
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST") or "localhost"
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": os.environ.get("SLURM_LOCALID", "0"),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(_tasks_here()),
        "MASTER_ADDR": os.environ.get(ADDRESS) or first_host(nodes),
        "MASTER_PORT": str(_port()),
    }
    return rank


def job() -> str:
    """Return the raw id of the SLURM job that this process belongs to, or an empty string."""
    return os.environ.get("SLURM_JOB_ID", "") if "SLURM_PROCID" in os.environ else ""


def restarts() -> int:
    """Return how often the queue has started this job before."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def first_host(nodes: str) -> str:
    """Return the first host of SLURM's short form of a node list.

    >>> first_host("gpu[007-009,12],login")
    'gpu007'
    """
    match = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    if match is None:
        raise ValueError(f"not a node list: {nodes!r}")
    return match[1] + (match[2] or "") + (match[3] or "")


def _tasks_here() -> int:
    """Return the number of tasks on this node from SLURM's list of counts, e.g. ``8(x2),4``."""
    counts: list[int] = []
    for part in os.environ.get("SLURM_STEP_TASKS_PER_NODE", os.environ.get("SLURM_TASKS_PER_NODE", "1")).split(","):
        count, _, times = part.partition("(x")
        counts += [int(count)] * int(times.rstrip(")") or 1)
    node = int(os.environ.get("SLURM_NODEID", "0"))
    return counts[min(node, len(counts) - 1)]


def _port() -> int:
    """Draw a port that is the same in all tasks of one start of one job, and another after a requeue."""
    seed = f"{os.environ.get('SLURM_JOB_ID', '')}.{restarts()}"
    return random.Random(seed).randint(20_000, 60_000)
