"""What `repro doctor` looks at. torch, Detectron2 and OpenCV are asked in processes of their own: those may crash."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["ok", "broken", "absent"]

PROBE_SECONDS = 180
SOURCES = Path(__file__).parents[1] / "ops"
INSTALL = "make install"
TORCH = 'python -m pip install -c repro/install/constraints.txt -e ".[torch]"'
EXPORT = "python -m pip install -c repro/install/constraints.txt -e '.[export]'"
BASE = ("numpy", "pandas", "pydantic", "PyYAML", "rich", "scipy", "submitit", "tabulate", "typer")
DATA_PATH = ("fvcore", "iopath", "omegaconf", "hydra-core", "pycocotools", "simplejpeg", "cloudpickle", "tensorboard")
EXPORTERS = ("onnx", "onnxscript", "onnxruntime", "openvino", "tensorrt")
ENGINES = ("hotcoco", "faster-coco-eval", "pycocotools")
SLURM = ("sbatch", "srun", "squeue", "scancel", "scontrol")
OPENCV = (
    "python -m pip uninstall -y opencv-python opencv-python-headless opencv-contrib-python && "
    "python -m pip install -c repro/install/constraints.txt opencv-contrib-python"
)

TORCH_PROBE = """
import json, torch
found = {"torch": torch.__version__, "built_for": torch.version.cuda, "gpus": []}
if torch.cuda.is_available():
    found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
import torchvision
torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
found["torchvision"] = torchvision.__version__
print(json.dumps(found))
"""
DETECTRON_PROBE = """
import json, detectron2
from detectron2.config import LazyConfig
from detectron2.modeling import META_ARCH_REGISTRY
print(json.dumps({"version": detectron2.__version__, "path": detectron2.__file__}))
"""
OPENCV_PROBE = """
import json, cv2
cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
print(json.dumps({"version": cv2.__version__}))
"""
OPS_PROBE = """
import json, torch
from repro.ops import library
from repro.ops.ms_deform_attn import ms_deform_attn
out = ms_deform_attn(torch.ones(1, 4, 1, 2), [(2, 2)], [0], torch.full((1, 1, 1, 1, 2), 0.5), torch.ones(1, 1, 1, 1),
                     points_per_level=[1])
found = {op: library.find(op) for op in library.operators()}
print(json.dumps({"ok": bool((out == 1).all()), "reasons": {op: one.reason for op, one in found.items()},
                  "built": {op: str(one.path) for op, one in found.items() if one.path},
                  "gpu": torch.cuda.is_available()}))
"""


@dataclass(frozen=True)
class Check:
    """One line of the doctor's.

    Attributes:
        subject: What was looked at.
        state: ``absent`` is something that is not needed everywhere; ``broken`` is something that everything needs.
        found: Version, path, or what is wrong.
        repair: Command that mends it; empty when there is nothing to mend.
    """

    subject: str
    state: State
    found: str
    repair: str = ""


def all_checks() -> Iterator[Check]:
    """Make every check, cheap ones first."""
    looks: tuple[Callable[[], Iterator[Check]], ...] = (
        _python, _libraries, _places, _torch, _detectron2, _opencv, _evaluators, _ops, _exporters, _compilers, _slurm,
        _datasets,
    )  # fmt: skip
    for look in looks:
        yield from look()


def _python() -> Iterator[Check]:
    yield Check("Python", "ok", f"{platform.python_version()} at {sys.executable}")
    if shutil.which("git"):
        yield Check("git", "ok", shutil.which("git") or "")
    else:
        yield Check("git", "broken", "not found; jobs run from a snapshot of the commit", "apt-get install git")


def _libraries() -> Iterator[Check]:
    versions = {name: _version(name) for name in (*BASE, *DATA_PATH)}
    missing = [name for name, version in versions.items() if version is None]
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield (
        Check("libraries", "ok", told)
        if not missing
        else Check("libraries", "broken", f"missing: {', '.join(missing)}", INSTALL)
    )


def _places() -> Iterator[Check]:
    from repro.harness import places

    for what, folder in (("output folder", places.output_root()), ("results folder", places.results())):
        nearest = next(one for one in (folder, *folder.parents) if one.exists())
        if os.access(nearest, os.W_OK | os.X_OK):
            free = shutil.disk_usage(nearest).free / 1e9
            yield Check(what, "ok", f"{folder}, {free:,.0f} GB free")
        else:
            variable = "REPRO_OUTPUT" if what.startswith("output") else "REPRO_RESULTS"
            yield Check(what, "broken", f"{nearest} is not writable", f"export {variable}=DIR")


def _torch() -> Iterator[Check]:
    found = probe(TORCH_PROBE)
    if isinstance(found, str):
        yield Check("torch and torchvision", "broken", found, TORCH)
        return
    yield Check("torch and torchvision", "ok", f"{found['torch']} and {found['torchvision']}")
    if found["gpus"]:
        yield Check("CUDA", "ok", f"{len(found['gpus'])} × {found['gpus'][0]}, torch is built for {found['built_for']}")
    elif Path("/proc/driver/nvidia/version").exists():
        told = f"a driver is loaded, but torch (built for CUDA {found['built_for']}) sees no GPU"
        yield Check("CUDA", "absent", told, "nvidia-smi   # is the driver new enough, is CUDA_VISIBLE_DEVICES empty?")
    else:
        yield Check("CUDA", "absent", "no GPU here; the small scales need none")


def _detectron2() -> Iterator[Check]:
    found = probe(DETECTRON_PROBE)
    repair = "python repro/install/detectron2.py"
    if isinstance(found, str):
        yield Check("Detectron2", "broken", found, repair)
        return
    version = str(found["version"])
    pure = version.endswith("+pure")
    source = "the Python part of 0.5, repaired (no C++ operators; none is needed)" if pure else "upstream"
    yield Check(
        "Detectron2", "ok", f"{version}: {source}", f"{repair} --source upstream   # for the whole" if pure else ""
    )


def _opencv() -> Iterator[Check]:
    found = probe(OPENCV_PROBE)
    if isinstance(found, str):
        others = [name for name in ("opencv-python", "opencv-python-headless") if _version(name)]
        because = f"; {' and '.join(others)} replaced the folder that has it" if others else ""
        yield Check("cv2.ximgproc", "broken", f"{found}{because}", OPENCV)
    else:
        yield Check("cv2.ximgproc", "ok", f"OpenCV {found['version']} with selective search")


def _evaluators() -> Iterator[Check]:
    found = [f"{name} {version}" for name in ENGINES if (version := _version(name))]
    if found:
        yield Check("COCO evaluation", "ok", ", ".join(found) + "; the first one is used")
    else:
        yield Check("COCO evaluation", "broken", f"none of {', '.join(ENGINES)} is installed", INSTALL)


def _ops() -> Iterator[Check]:
    found = probe(OPS_PROBE)
    if isinstance(found, str) or not found["ok"]:
        told = found if isinstance(found, str) else "multi-scale deformable attention gives a wrong result"
        yield Check("operators", "broken", told, "repro ops build --force; python -m pytest tests/ops")
        return
    for op, reason in found["reasons"].items():
        if reason:
            yield Check(f"operator {op}", "absent", f"{reason}; the slower reference serves", "repro ops build")
        elif found["gpu"] and Path(found["built"][op]).stem == "cpu" and (SOURCES / op / "csrc/cuda").is_dir():
            yield Check(f"operator {op}", "absent", "has no CUDA kernels", "repro ops build --cuda")
        else:
            yield Check(f"operator {op}", "ok", found["built"][op])


def _exporters() -> Iterator[Check]:
    versions = {name: _version(name) for name in EXPORTERS}
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    missing = [name for name, version in versions.items() if version is None and name != "tensorrt"]
    if missing:
        yield Check("export", "absent", f"{told or 'nothing'} of {', '.join(EXPORTERS)}", EXPORT)
    else:
        yield Check("export", "ok", told)


def _compilers() -> Iterator[Check]:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler:
        yield Check("C++ compiler", "ok", f"{compiler}: {_first_line([compiler, '--version'])}")
    else:
        yield Check("C++ compiler", "absent", "Detectron2 cannot be built from upstream", "apt-get install g++")
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc:
        yield Check("nvcc", "ok", f"{nvcc}: {_first_line([nvcc, '--version'], 'release')}")
    else:
        yield Check("nvcc", "absent", "only for building CUDA operators")


def _slurm() -> Iterator[Check]:
    missing = [tool for tool in SLURM if shutil.which(tool) is None]
    if missing:
        told = f"no {', '.join(missing)}; needed for slurm clusters and the tests marked slurm"
        yield Check("SLURM", "absent", told, "apt-get install slurm-wlm munge   # or log in to a node of the cluster")
        return
    answer = _first_line(["scontrol", "ping"], "UP")
    if "UP" in answer:
        yield Check("SLURM", "ok", answer)
    else:
        told = "installed, but no controller answers"
        yield Check(
            "SLURM", "absent", told, 'slurm/devcluster up && eval "$(slurm/devcluster env)"   # or set SLURM_CONF'
        )


def _datasets() -> Iterator[Check]:
    from repro.data import datasets
    from repro.data.dataset import datasets_root

    by_family: dict[str, list[str]] = {}
    for family, module in datasets.families().items():
        for one in module.register(datasets_root()):
            if not one.looked_for:
                by_family.setdefault(family, [])
            elif not all(path.exists() for path in one.looked_for):
                by_family.setdefault(family, []).append(str(one.looked_for[0]))
            else:
                by_family.setdefault(family, [])
    for family, missing in by_family.items():
        if missing:
            told = f"not all here; looked for {missing[0]}"
            yield Check(f"data: {family}", "absent", told, f"repro data prepare {family} --from DIR")
        else:
            yield Check(f"data: {family}", "ok", "here, or generated when needed")


def probe(code: str) -> dict[str, Any] | str:
    """Run Python code in a process of its own and return the JSON that it prints last, or what went wrong."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_SECONDS} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
        return last if done.returncode > 0 else f"killed by signal {-done.returncode}: {last}"
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _first_line(command: list[str], holding: str = "") -> str:
    """Return the first line of a command's output that holds a word."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return next((line.strip() for line in done.stdout.splitlines() if holding in line), "no answer")
