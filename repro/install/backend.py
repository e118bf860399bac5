"""The build backend: setuptools', which can put compiled operators into the wheel as well.

    pip wheel .                                    pure Python, for any machine; `repro ops build` compiles there
    pip wheel . -C ops=cpu --no-build-isolation    with operators for the torch that is installed here
    pip wheel . -C ops=cuda --no-build-isolation   with their CUDA kernels too; needs nvcc, no GPU

An operator's library serves the version of torch that it was compiled for. With build isolation that is whichever torch
pip picks for the build; elsewhere the wheel works as the pure one does.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import (  # what is not changed here is setuptools' own
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = Mapping[str, str] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """What setuptools needs, and torch to compile operators against."""
    needed: list[str] = build_meta.get_requires_for_build_wheel(_others(config_settings))
    if not _wanted(config_settings):
        return needed
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    return [*needed, *project["optional-dependencies"]["torch"], "numpy", "wheel"]


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Build the wheel; with the setting ``ops`` it holds operators and is for this platform.

    Returns:
        The wheel's file name.
    """
    wanted = _wanted(config_settings)
    if not wanted:
        return build_meta.build_wheel(wheel_directory, _others(config_settings), metadata_directory)
    with tempfile.TemporaryDirectory() as scratch:
        pure = Path(scratch) / build_meta.build_wheel(scratch, _others(config_settings), metadata_directory)
        _wheel("unpack", str(pure), "--dest", scratch)
        (content,) = (path for path in Path(scratch).iterdir() if path.is_dir())
        _compile(content, cuda=wanted == "cuda")
        _declare_platform(next(content.glob("*.dist-info/WHEEL")))
        _wheel("pack", str(content), "--dest-dir", wheel_directory)
        return f"{content.name}-{_tag()}.whl"


def _wanted(settings: Settings) -> str:
    """The setting ``ops``: nothing, ``cpu`` or ``cuda``.

    Raises:
        SystemExit: it is something else.
    """
    wanted = (settings or {}).get("ops", "")
    if wanted not in ("", "cpu", "cuda"):
        raise SystemExit(f"ops={wanted}: expected ops=cpu or ops=cuda")
    return wanted


def _others(settings: Settings) -> dict[str, str]:
    """The settings that are setuptools'."""
    return {key: value for key, value in (settings or {}).items() if key != "ops"}


def _compile(content: Path, cuda: bool) -> None:
    """Compile all operators into the unpacked wheel."""
    sys.path.insert(0, str(Path.cwd()))  # where a build backend is called: the project's root
    from repro.ops import build, library

    for op in library.operators():
        build.build(op, cuda=cuda, into=content / "repro" / "ops" / op / "prebuilt", report=print)


def _declare_platform(file: Path) -> None:
    lines = file.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("Tag:", "Root-Is-Purelib:"))]
    file.write_text("\n".join([*(line for line in kept if line), "Root-Is-Purelib: false", f"Tag: {_tag()}", ""]))


def _tag() -> str:
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"cp{sys.version_info[0]}{sys.version_info[1]}-none-{platform}"


def _wheel(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "wheel", *arguments], check=True, stdout=subprocess.DEVNULL)
