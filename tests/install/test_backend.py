"""Wheels: pure ones, and ones that carry compiled operators."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from repro.install import backend

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources: a build leaves folders behind."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "repro", folder / "repro", ignore=shutil.ignore_patterns("__pycache__", "prebuilt"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def wheel(checkout, *options):
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", "dist"]
    done = subprocess.run([*command, *options], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (checkout / "dist").glob("*.whl")
    return made


def test_a_pure_wheel_holds_the_sources_of_operators(checkout):
    made = wheel(checkout)
    assert made.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(made).namelist()
    for source in ("csrc/ops.cpp", "csrc/cpu/kernels_impl.h"):
        assert f"repro/ops/ms_deform_attn/{source}" in names
    assert not [name for name in names if name.endswith(".so")]


@pytest.mark.slow
def test_a_wheel_with_operators_needs_no_compiler(checkout, tmp_path):
    made = wheel(checkout, "-C", "ops=cpu")
    assert not made.name.endswith("-any.whl")
    with zipfile.ZipFile(made) as file:
        metadata = file.read(next(name for name in file.namelist() if name.endswith("/WHEEL"))).decode()
        assert "Root-Is-Purelib: false" in metadata and "py3-none-any" not in metadata
        file.extractall(tmp_path / "site")
    code = (
        "import json, torch, repro; from repro.ops import library; from repro.ops.ms_deform_attn import native\n"
        "print(json.dumps([str(library.find('ms_deform_attn').path), native.serves('cpu', torch.float32)]))"
    )
    settings = {"PYTHONPATH": str(tmp_path / "site"), "REPRO_OPS_CACHE": str(tmp_path / "empty"), "CXX": "none"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | settings, cwd=tmp_path, capture_output=True, text=True, check=True)
    path, serves = json.loads(done.stdout)
    assert path.startswith(str(tmp_path / "site")) and serves


def test_torch_is_needed_only_with_operators():
    assert not [name for name in backend.get_requires_for_build_wheel() if name.startswith("torch")]
    assert [name for name in backend.get_requires_for_build_wheel({"ops": "cpu"}) if name.startswith("torch")]


def test_an_unknown_kind_of_operators(tmp_path):
    with pytest.raises(SystemExit, match="ops=rocm: expected ops=cpu or ops=cuda"):
        backend.build_wheel(str(tmp_path), {"ops": "rocm"})
