"""The CUDA kernels: on a GPU, all checks of the self-check; without one, that they compile, and keep to registers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repro.errors import InstallError
from repro.ops import build
from repro.ops.ms_deform_attn import native, selfcheck

KERNELS = Path(native.__file__).parent / "csrc" / "cuda"


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "check"), list(selfcheck.checks("cuda")), ids=lambda part: str(part))
def test_on_a_gpu(name, check):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if not native.serves("cuda", torch.float32):
        pytest.skip("the CUDA kernels are not built: repro ops build ms_deform_attn")
    try:
        check()
    except selfcheck.SkippedError as reason:
        pytest.skip(str(reason))


@pytest.mark.slow
@pytest.mark.parametrize("source", sorted(KERNELS.glob("*.cu")), ids=lambda path: path.stem)
def test_kernels_compile_and_none_spills(source, tmp_path):
    try:
        nvcc = build.cuda_compiler(required=True)
    except InstallError as reason:
        pytest.skip(str(reason))
    command = [str(nvcc), "-O3", "-std=c++20", "-arch=sm_90", "-Xptxas", "-v", "-c", str(source)]
    done = subprocess.run([*command, "-o", str(tmp_path / "kernels.o")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    spilled = [int(count) for count in re.findall(r"(\d+) bytes spill (?:stores|loads)", done.stderr)]
    kernels = re.findall(r"Compiling entry function", done.stderr)
    assert len(spilled) == 2 * len(kernels) >= 20
    assert not any(spilled), done.stderr


def test_self_check_says_what_it_found(capsys):
    if not native.serves("cpu", torch.float32):
        pytest.skip("not built: repro ops build ms_deform_attn")
    assert selfcheck.main(["--device", "cpu", "--only", "strange"]) == 0
    assert "3 checks, 0 failed" in capsys.readouterr().out


def test_self_check_fails_when_a_check_does(monkeypatch, capsys):
    monkeypatch.setattr(selfcheck, "checks", lambda device: [("sums", lambda: torch.zeros(2).add_(torch.zeros(3)))])
    monkeypatch.setattr(selfcheck.native, "serves", lambda *kind: True)
    assert selfcheck.main(["--device", "cpu"]) == 1
    assert "| sums | FAILED: RuntimeError" in capsys.readouterr().out


def test_benchmark_runs_on_tiny_inputs(tmp_path):
    if not native.serves("cpu", torch.float32):
        pytest.skip("not built: repro ops build ms_deform_attn")
    script = Path(__file__).parents[2] / "benchmarks/perf/ms_deform_attn_gpu.py"
    command = [sys.executable, str(script), "--device", "cpu", "--quick", "--rounds", "1", "--write", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    lines = (tmp_path / "cpu.md").read_text().splitlines()
    assert sum(line.startswith("| (") for line in lines) == 6
