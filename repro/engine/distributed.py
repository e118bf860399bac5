"""Processes of a stage: one a GPU, found in the environment variables that torchrun and our SLURM payload set.

Without ``WORLD_SIZE``, or with 1, nothing is started. Detectron2's `comm` then answers rank 0 of 1.
"""

from __future__ import annotations

import atexit
import os

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch import nn


def join(device: torch.device) -> None:
    """Join the other processes of this job, once; a process that runs several stages stays with them to its end.

    (Leaving and joining again under the same address is a race: a fast process finds the slow one's old meeting point.)
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)


def choose_device(name: str | None) -> torch.device:
    """Device of this process: as told, else its own GPU where there is one, else the CPU."""
    if name is not None:
        device = torch.device(name)
    else:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        if device.index is None:
            local_rank = int(os.environ.get("LOCAL_RANK", "0"))
            device = torch.device("cuda", local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    return device


def parallel(model: nn.Module, device: torch.device, sync_bn: bool = False) -> nn.Module:
    """The model with its gradients averaged over the processes; the model itself when there is one process.

    With ``sync_bn``, batch normalisation takes its statistics over the images of all processes. It is changed within
    the model, whose parameters stay the same objects. torch has it for GPUs only; on a CPU each process has its own.
    """
    if comm.get_world_size() == 1:
        return model
    if sync_bn and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)


def mean(values: torch.Tensor) -> torch.Tensor:
    """Mean over the processes."""
    if comm.get_world_size() == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / comm.get_world_size()
