"""Checkpoints that a kill at any byte cannot spoil, and the random states that go into them.

A file is written under a temporary name, flushed to the disk and then renamed, so under its own name it is complete
or not there at all; the previous one is removed after that. fvcore's Checkpointer writes in place and keeps the name
of the newest file in a second file, which a kill between the two leaves wrong; hence these few functions.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repro.errors import StageError

FINAL = "model_final.pth"
PERIODIC = re.compile(r"checkpoint_(\d{8})\.pth")

log = logging.getLogger(__name__)


def save(state: dict[str, Any], path: Path) -> Path:
    """Write a state so that `path` is either its old content or the whole new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else the rename itself may be lost with the machine
    finally:
        os.close(folder)
    return path


def load(path: Path) -> dict[str, Any]:
    """Read a state onto the CPU; tensors and plain values only, never code.

    Among the plain ones is ``argparse.Namespace``, a bag of names and values that published checkpoints of the DETR
    family carry beside their weights.

    Raises:
        StageError: the file is missing, incomplete or not a checkpoint.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise StageError(f"There is no checkpoint {path}") from error
    except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError, ... for a broken file
        raise StageError(f"{path} is not a checkpoint that can be read: {error}") from error


class Unread:
    """What stands in a published file's content for an object of a class of its authors': it holds nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def load_published(path: Path) -> dict[str, Any]:
    """Read what another code base wrote, as `load` does; objects of its own classes become `Unread`.

    Files of the mmdetection family describe their training beside the weights, by their own classes and NumPy's.

    Raises:
        StageError: see `load`.
    """
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # of before torch 1.6, which cannot be looked through; or none at all, which `load` says
        foreign = []
    with torch.serialization.safe_globals([(Unread, name) for name in foreign]):
        return load(path)


def save_periodic(state: dict[str, Any], folder: Path, iteration: int) -> Path:
    """Write the state after ``iteration`` steps, then remove the older periodic checkpoints."""
    path = save(state, folder / f"checkpoint_{iteration:08d}.pth")
    for older in periodic(folder):
        if older != path:
            older.unlink()
    return path


def periodic(folder: Path) -> list[Path]:
    """Periodic checkpoints in a folder, oldest first."""
    return sorted(path for path in folder.glob("checkpoint_*.pth") if PERIODIC.fullmatch(path.name))


def latest(folder: Path) -> dict[str, Any] | None:
    """State of the newest periodic checkpoint that can be read, or None; unreadable ones are passed over."""
    for path in reversed(periodic(folder)):
        try:
            return load(path)
        except StageError as error:
            log.warning("%s; going back to the one before it", error)
    return None


def clean(folder: Path) -> None:
    """Remove what a finished stage does not need: periodic checkpoints and leftovers of interrupted writes."""
    for path in [*periodic(folder), *folder.glob(".*.pth.*.tmp")]:
        path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hash of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def random_state() -> dict[str, Any]:
    """State of every global random number generator of this process, in values that `load` can read back."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - libraries may use the global generator
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": {
            **{key: numpy[key] for key in ("bit_generator", "has_gauss", "gauss")},
            "key": numpy["state"]["key"].tolist(),
            "pos": numpy["state"]["pos"],
        },
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned. CUDA states are put back on as many devices as there are now."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    numpy = state["numpy"]
    np.random.set_state(  # noqa: NPY002
        {
            "bit_generator": numpy["bit_generator"],
            "state": {"key": np.array(numpy["key"], dtype=np.uint32), "pos": numpy["pos"]},
            "has_gauss": numpy["has_gauss"],
            "gauss": numpy["gauss"],
        }
    )
