"""Compile the native operators: ahead of time, once, into the folders that ``library.py`` looks at.

The compilers are called directly, one process a source file: torch's own extension builder needs ninja, includes
Python's headers and takes twice as long, and a machine with PyTorch and nvcc alone must do. Files that end in
``_avx2.cpp`` or ``_avx512.cpp`` are compiled for these instructions, and chosen by the processor at run time; the rest
is compiled for any processor of its family.

CUDA sources are compiled where there is an ``nvcc`` of the version that torch was built for, with or without a GPU.
A library appears under its name when it is whole, so two builds at once, or one that is killed, do no harm.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from repro.errors import InstallError
from repro.ops import library

ARCHITECTURES = ("75", "80", "86", "89", "90+")
"""Built for without a GPU: Turing to Hopper, and PTX of Hopper for later ones."""

OPTIONS = ("-O3", "-ffp-contract=off", "-std=c++20", "-fPIC", "-fopenmp", "-Wall", "-fvisibility=hidden", "-DNDEBUG")
SIMD = {
    "_avx2": ("-mavx2", "-mfma"),
    "_avx512": ("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma"),
}

Report = Callable[[str], None]


def build(
    op: str,
    *,
    cuda: bool | None = None,
    architectures: Sequence[str] | None = None,
    force: bool = False,
    into: Path | None = None,
    report: Report = print,
) -> Path:
    """Compile one operator unless it is there already.

    Args:
        op: name of the operator.
        cuda: with CUDA kernels or without; None means with them where they can be compiled.
        architectures: compute capabilities such as ``["80", "90+"]``, + for PTX; None means those of this machine's
            GPUs, or :data:`ARCHITECTURES` without one.
        force: compile although the library is there.
        into: folder of libraries; None means the cache.
        report: called with a line at each step.

    Returns:
        The library's path.

    Raises:
        InstallError: a compiler is missing, or fails; the message holds what it said.
    """
    if architectures:
        cuda = _with_cuda(cuda)
    files = [path for path in library.sources(op) if path.suffix in {".cpp", ".cu"}]
    has_cuda = any(path.suffix == ".cu" for path in files)
    nvcc = cuda_compiler(required=bool(cuda)) if has_cuda and cuda is not False else None
    archs = tuple(map(_architecture, architectures or _architectures())) if nvcc else ()
    name = f"cuda-{'-'.join(archs)}.so" if nvcc else "cpu.so"
    folder = (into or library.cache_folder()) / f"{op}-{library.key(op)}"
    target = folder / name
    if target.exists() and not force:
        report(f"{op}: {target} is there already")
        return target
    if not nvcc:
        files = [path for path in files if "cuda" not in path.relative_to(library.PACKAGE / op / "csrc").parts]
    compiler = _compiler()
    _make(folder)
    with tempfile.TemporaryDirectory(prefix=f".{op}-", dir=folder) as scratch:
        commands = [_command(path, Path(scratch), compiler, nvcc, archs) for path in files]
        report(f"{op}: compiling {len(files)} files" + (f" for sm {', '.join(archs)}" if nvcc else ", no CUDA"))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(_compile, commands))
        linked = Path(scratch) / name
        _call([*compiler, "-shared", "-o", str(linked), *map(str, objects), *_libraries(nvcc)], linked)
        linked.replace(target)
    report(f"{op}: built {target}")
    return target


def _command(
    source: Path, scratch: Path, compiler: list[str], nvcc: Path | None, archs: Sequence[str]
) -> tuple[list[str], Path]:
    """The call that compiles one file, and the object that it makes."""
    made = scratch / f"{source.parent.name}-{source.name}.o"  # two folders may each hold an ops.cpp
    if source.suffix == ".cu":
        assert nvcc is not None
        targets = [option for arch in archs for option in _generate(arch)]
        host = ["-ccbin", compiler[-1], "-Xcompiler", "-fPIC,-fvisibility=hidden"]
        options = ["-O3", "-std=c++20", "-DNDEBUG", "--threads", "2", *host, *targets]
        return [str(nvcc), *options, "-c", str(source), "-o", str(made)], made
    options = list(OPTIONS)
    if platform.machine() in {"x86_64", "AMD64"}:
        options += next((flags for ending, flags in SIMD.items() if source.stem.endswith(ending)), ())
    if nvcc:
        options += ["-isystem", str(nvcc.parent.parent / "include")]
    return [*compiler, *options, *_includes(), "-c", str(source), "-o", str(made)], made


def _generate(arch: str) -> list[str]:
    number = arch.rstrip("+")
    targets = [f"-gencode=arch=compute_{number},code=sm_{number}"]
    return [*targets, f"-gencode=arch=compute_{number},code=compute_{number}"] if arch.endswith("+") else targets


def _includes() -> list[str]:
    include = Path(torch.__file__).parent / "include"
    return [f"-isystem{include}", f"-isystem{include / 'torch/csrc/api/include'}"]


def _libraries(nvcc: Path | None) -> list[str]:
    # Not linked against OpenMP: its symbols come from the copy that torch has loaded, whose thread pool is torch's.
    names = ["c10", "torch_cpu", *(["c10_cuda", "torch_cuda"] if nvcc else [])]
    found = [f"-L{Path(torch.__file__).parent / 'lib'}", *(f"-l{name}" for name in names)]
    if nvcc:
        home = nvcc.parent.parent
        folders = [folder for folder in (home / "lib64", home / "lib") if folder.is_dir()]
        found += [*(f"-L{folder}" for folder in folders), "-lcudart"]
    return found


def _with_cuda(cuda: bool | None) -> bool:
    """Who names architectures wants CUDA kernels.

    Raises:
        InstallError: and says that he does not.
    """
    if cuda is False:
        raise InstallError("architectures are those of CUDA kernels, which were not wanted: leave out one of the two")
    return True


def _architecture(name: str) -> str:
    """``90+`` for any usual way to write it: 9.0+PTX, sm_90+, 90+.

    Raises:
        InstallError: it is not a compute capability.
    """
    short = name.removeprefix("sm_").replace(".", "").replace("+PTX", "+")
    if not re.fullmatch(r"\d{2,3}\+?", short):
        raise InstallError(f"{name} is not a compute capability; expected such as 80, 9.0 or 90+ (with PTX)")
    return short


def _make(folder: Path) -> None:
    """Create the folder of a library.

    Raises:
        InstallError: it cannot be written.
    """
    fault = "there is no home folder" if folder.parts[0] == "~" else ""
    if not fault:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fault = str(error)
        else:
            fault = "" if os.access(folder, os.W_OK) else "it is not writable"
    if fault:
        raise InstallError(f"cannot put the library into {folder}: {fault}. Set REPRO_OPS_CACHE to another folder")


def _compiler() -> list[str]:
    """The C++ compiler: ``$CXX``, which may hold words such as ccache before it, else g++.

    Raises:
        InstallError: there is none.
    """
    wanted = shlex.split(os.environ.get("CXX") or "g++")
    found = shutil.which(wanted[0])
    if found is None:
        raise InstallError(f"no C++ compiler: {wanted[0]} is not on the path. apt-get install g++, or set CXX")
    return [found, *wanted[1:]]


def cuda_compiler(required: bool) -> Path | None:
    """The CUDA compiler that matches torch: in ``$CUDA_HOME``, on the path, or in its usual place.

    Raises:
        InstallError: it is required and not there, or of another version than torch.
    """
    wanted = torch.version.cuda
    home = os.environ.get("CUDA_HOME")
    place = f"{home}/bin" if home else f"{os.environ.get('PATH', '')}:/usr/local/cuda/bin"
    found = shutil.which("nvcc", path=place)
    fault = ""
    if wanted is None:
        fault = f"torch {torch.__version__} was built without CUDA"
    elif found is None:
        fault = f"no nvcc in {home or 'the path or /usr/local/cuda'}; install CUDA {wanted} or set CUDA_HOME"
    else:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if f"release {wanted.split('.')[0]}." not in said:
            fault = f"{found} is of another CUDA than torch's {wanted}; set CUDA_HOME to that version"
    if fault and required:
        raise InstallError(f"cannot build CUDA kernels: {fault}")
    return None if fault or found is None else _itself(found)


def _itself(nvcc: str) -> Path:
    """The compiler that a command of this name runs: it may be a script elsewhere, and CUDA's headers lie beside it."""
    said = subprocess.run([nvcc, "--dryrun", "-x", "cu", "-c", os.devnull], capture_output=True, text=True, check=False)
    folders = [line.partition("_HERE_=")[2].strip() for line in said.stderr.splitlines() if "_HERE_=" in line]
    return (Path(folders[0]) / "nvcc" if folders else Path(nvcc)).resolve()


def _architectures() -> tuple[str, ...]:
    """Those of this machine's GPUs, else all that are supported."""
    if not torch.cuda.is_available():
        return ARCHITECTURES
    found = {torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())}
    return tuple(f"{major}{minor}" for major, minor in sorted(found))


def _compile(command: tuple[list[str], Path]) -> Path:
    call, made = command
    _call(call, made)
    return made


def _call(command: Sequence[str], made: Path) -> None:
    """Run a compiler.

    Raises:
        InstallError: it fails; the message ends with what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[:40])
        raise InstallError(f"cannot make {made.name}: {' '.join(command)}\n{said}")
