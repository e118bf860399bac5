"""Where operators' libraries lie, which one serves, and compiling them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repro.errors import InstallError
from repro.ops import build, library

SOURCE = """
#include <torch/library.h>
TORCH_LIBRARY_FRAGMENT(repro, m) { m.def("toy(int x) -> int", [](int64_t x) { return x + 1; }); }
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one small operator, and a cache of its own."""
    root = tmp_path / "ops"
    (root / "toy" / "csrc").mkdir(parents=True)
    (root / "toy" / "csrc" / "toy.cpp").write_text(SOURCE)
    (root / "build.py").write_text("")
    monkeypatch.setattr(library, "PACKAGE", root)
    monkeypatch.setenv("REPRO_OPS_CACHE", str(tmp_path / "cache"))
    for cached in (library.key, library.load):
        cached.cache_clear()
    yield root
    for cached in (library.key, library.load):
        cached.cache_clear()


@pytest.fixture
def gpu(monkeypatch):
    """Pretend that there is a GPU of this compute capability."""

    def pretend(major, minor):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (major, minor))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    return pretend


def built(*names):
    folder = library.folders("toy")[1]
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_the_projects_own_operators():
    assert "ms_deform_attn" in library.operators()
    assert {"ops.cpp", "kernels_impl.h"} <= {path.name for path in library.sources("ms_deform_attn")}
    with pytest.raises(InstallError, match=r"no native operator ms_deform_att\. Did you mean ms_deform_attn"):
        library.sources("ms_deform_att")


def test_the_key_is_that_of_sources_and_torch(package, monkeypatch):
    first = library.key("toy")
    library.key.cache_clear()
    assert library.key("toy") == first
    (package / "toy" / "csrc" / "toy.cpp").write_text(SOURCE + "// changed")
    library.key.cache_clear()
    second = library.key("toy")
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    library.key.cache_clear()
    assert len({first, second, library.key("toy")}) == 3


def test_nothing_is_built(package):
    assert library.find("toy") == library.Library(None, "not built; run repro ops build toy")
    assert library.load("toy") is False


@pytest.mark.parametrize(
    ("capability", "files", "serves"),
    [
        ((9, 0), ["cpu.so", "cuda-80-90.so"], "cuda-80-90.so"),
        ((8, 6), ["cpu.so", "cuda-80-90.so"], "cuda-80-90.so"),  # sm_80 code runs on sm_86
        ((8, 0), ["cpu.so", "cuda-86.so"], "cpu.so"),  # and not the other way round
        ((10, 0), ["cpu.so", "cuda-90.so"], "cpu.so"),  # another generation needs PTX
        ((10, 0), ["cpu.so", "cuda-90+.so"], "cuda-90+.so"),
        ((7, 5), ["cuda-90+.so"], None),
    ],
)
def test_the_library_for_a_gpu(package, gpu, capability, files, serves):
    gpu(*capability)
    built(*files)
    found = library.find("toy")
    assert (found.path and found.path.name) == serves
    assert bool(found.reason) == (serves is None)


def test_without_a_gpu_any_library_serves(package):
    built("cuda-90.so")
    assert library.find("toy").path.name == "cuda-90.so"


def test_a_broken_library_is_said_and_passed_over(package):
    built("cpu.so")
    with pytest.warns(RuntimeWarning, match=r"cannot load .*cpu.so, so toy runs without it"):
        assert library.load("toy") is False


def test_build_load_and_keep(package):
    said = []
    path = build.build("toy", report=said.append)
    assert path == library.find("toy").path and path.name == "cpu.so"
    assert [path.name for path in path.parent.iterdir()] == ["cpu.so"]  # nothing left over
    assert library.load("toy") and torch.ops.repro.toy(1) == 2
    assert build.build("toy", report=said.append) == path
    assert "is there already" in said[-1]


def test_a_library_that_does_not_load_gives_way_to_the_next(package):
    # A name can be registered once a process.
    (package / "toy" / "csrc" / "toy.cpp").write_text(SOURCE.replace("toy(", "toy_again("))
    library.key.cache_clear()
    build.build("toy", report=lambda _: None)
    built("cuda-90.so")
    with pytest.warns(RuntimeWarning, match=r"cuda-90.so, so toy runs without it; run repro ops build toy --force"):
        assert library.load("toy")


def test_a_cache_that_cannot_be_read_or_written(package, monkeypatch):
    monkeypatch.setenv("REPRO_OPS_CACHE", "/proc/none")
    assert library.find("toy").path is None
    with pytest.raises(InstallError, match=r"cannot put the library into /proc/none.*Set REPRO_OPS_CACHE"):
        build.build("toy", report=lambda _: None)
    monkeypatch.setattr(library, "cache_folder", lambda: Path("~/.cache/repro/ops"))
    assert library.load("toy") is False
    with pytest.raises(InstallError, match="there is no home folder"):
        build.build("toy", report=lambda _: None)


@pytest.mark.parametrize(("given", "short"), [("80", "80"), ("9.0+PTX", "90+"), ("sm_86", "86"), ("10.0", "100")])
def test_ways_to_write_an_architecture(given, short):
    assert build._architecture(given) == short


def test_what_is_no_architecture(package):
    with pytest.raises(InstallError, match="90a is not a compute capability; expected such as 80"):
        build._architecture("90a")
    with pytest.raises(InstallError, match="which were not wanted"):
        build.build("toy", cuda=False, architectures=["80"], report=lambda _: None)


def test_what_the_compiler_says_is_shown(package):
    (package / "toy" / "csrc" / "toy.cpp").write_text("int broken( {")
    with pytest.raises(InstallError, match=r"(?s)cannot make csrc-toy.cpp.o: .*error"):
        build.build("toy", report=lambda _: None)
    assert not library.find("toy").path


def test_no_compiler(package, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InstallError, match=r"no-such-compiler is not on the path. apt-get install g\+\+"):
        build.build("toy", report=lambda _: None)


@pytest.mark.parametrize(("release", "fault"), [(None, "no nvcc in"), ("release 8.0, V8.0", "is of another CUDA")])
def test_no_cuda_compiler_that_fits(package, monkeypatch, tmp_path, release, fault):
    if torch.version.cuda is None:
        pytest.skip("torch was built without CUDA")
    (package / "toy" / "csrc" / "cuda").mkdir()
    (package / "toy" / "csrc" / "cuda" / "toy.cu").write_text("")
    (tmp_path / "cuda" / "bin").mkdir(parents=True)
    if release:
        nvcc = tmp_path / "cuda" / "bin" / "nvcc"
        nvcc.write_text(f"#!/bin/sh\necho '{release}'\n")
        nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    with pytest.raises(InstallError, match=f"cannot build CUDA kernels: .*{fault}"):
        build.build("toy", cuda=True, report=lambda _: None)
    assert build.build("toy", report=lambda _: None).name == "cpu.so"  # unless asked for, it does without


def test_architectures_are_those_of_the_gpus(gpu):
    assert build._architectures() == build.ARCHITECTURES
    gpu(8, 9)
    assert build._architectures() == ("89",)


def test_importing_builds_and_loads_nothing(tmp_path):
    code = (
        "import json, torch, repro.ops.ms_deform_attn; print(json.dumps([str(p) for p in torch.ops.loaded_libraries]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"REPRO_OPS_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [] and list(Path(tmp_path).iterdir()) == []
