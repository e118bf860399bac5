"""The native operators' shared libraries: which there are, where they lie, and loading them. Nothing here compiles.

An operator is a folder of this package with sources in ``csrc``. Its library is named by everything that it was made
from, so that a stale one is never loaded and versions of torch, of Python and of the sources live side by side:

    <cache>/<operator>-<key>/cpu.so                built without CUDA
    <cache>/<operator>-<key>/cuda-75-80-90+.so     with kernels for sm_75 and sm_80, and PTX of sm_90 for what comes

``<cache>`` is ``$REPRO_OPS_CACHE``, by default ``~/.cache/repro/ops``; a wheel that was built with operators carries
the same folders in ``prebuilt`` beside the sources, and those are looked at first. ``build.py`` fills them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from repro.errors import InstallError, did_you_mean

PACKAGE = Path(__file__).parent
BUILD = "repro ops build"


@dataclass(frozen=True)
class Library:
    """Where an operator's library is, or why there is none.

    Attributes:
        path: the file that serves this machine; None without one.
        reason: why it does not serve; empty when it does.
    """

    path: Path | None
    reason: str = ""


def operators() -> list[str]:
    """Names of the operators that have native sources."""
    return sorted(folder.parent.name for folder in PACKAGE.glob("*/csrc"))


def sources(op: str) -> list[Path]:
    """All files that an operator's library is made from.

    Raises:
        InstallError: there is no such operator.
    """
    if op not in operators():
        raise InstallError(f"there is no native operator {op}. {did_you_mean(op, operators())}")
    return sorted(path for path in (PACKAGE / op / "csrc").rglob("*") if path.suffix in {".cpp", ".cu", ".h", ".cuh"})


@cache
def key(op: str) -> str:
    """First 12 hex digits of a hash over sources, build driver, torch, Python and processor family."""
    digest = hashlib.sha256()
    for part in (torch.__version__, f"{sys.version_info[0]}.{sys.version_info[1]}", platform.machine()):
        digest.update(part.encode() + b"\0")
    for path in (*sources(op), PACKAGE / "build.py"):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def cache_folder() -> Path:
    """Where ``build.py`` puts libraries. Without a home folder it starts with ``~``, and nothing is there."""
    return Path(os.path.expanduser(os.environ.get("REPRO_OPS_CACHE") or "~/.cache/repro/ops"))  # noqa: PTH111


def folders(op: str) -> list[Path]:
    """Where an operator's libraries may lie: in the installed package first, then in the cache."""
    name = f"{op}-{key(op)}"
    return [PACKAGE / op / "prebuilt" / name, cache_folder() / name]


def find(op: str) -> Library:
    """The library that serves this machine: one with CUDA kernels for its GPU if there is one, else any."""
    files = _files(op)
    for path in _serving(files):
        return Library(path)
    if files:
        return Library(None, f"built for {', '.join(path.stem for path in files)} only; run {BUILD} {op} here")
    return Library(None, f"not built; run {BUILD} {op}")


def _files(op: str) -> list[Path]:
    """An operator's libraries, for whatever devices; none where a folder cannot be read."""
    found: list[Path] = []
    for folder in folders(op):
        try:
            found += sorted(folder.glob("*.so"))
        except OSError:  # somebody else's home folder, say: then nothing is built for us there
            continue
    return found


def _serving(files: list[Path]) -> list[Path]:
    """Those that serve this machine, best first."""
    last = sorted(files, key=lambda path: path.stem == "cpu")
    return [path for path in last if path.stem == "cpu" or _serves_gpu(path.stem)]


def _serves_gpu(stem: str) -> bool:
    """Whether a library named ``cuda-75-80-90+`` holds code for this machine's GPU, or for any without one."""
    if not torch.cuda.is_available():
        return True
    major, minor = torch.cuda.get_device_capability()
    for arch in stem.split("-")[1:]:
        if not arch.rstrip("+").isdigit():
            continue
        number = int(arch.rstrip("+"))
        # Machine code runs on later devices of the same generation; PTX ("+") on every later device.
        same_generation = number // 10 == major and number % 10 <= minor
        if same_generation or (arch.endswith("+") and number <= 10 * major + minor):
            return True
    return False


@cache
def load(op: str) -> bool:
    """Make ``torch.ops.repro`` hold the operator, and say whether it does. Looks once a process; never builds."""
    for path in _serving(_files(op)):
        try:
            torch.ops.load_library(str(path))
        except OSError as error:
            told = f"cannot load {path}, so {op} runs without it; run {BUILD} {op} --force: {error}"
            warnings.warn(told, RuntimeWarning, stacklevel=2)
        else:
            return True
    return False
