"""Name what a machine lacks before anything is installed, each with the command that brings it.

Runs with the standard library of the system's Python, also of one that is too old for the project:

    python3 repro/install/prerequisites.py
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
import sysconfig

MINIMUM = (3, 11)


def library(name: str) -> bool:
    """Whether the dynamic loader finds a shared library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def missing() -> list[tuple[str, str, str]]:
    """What is not there: (what, why it is needed, Debian package)."""
    version = ".".join(map(str, sys.version_info[:2]))
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")  # noqa: PTH118 (old Pythons run this file too)
    checks = [
        (sys.version_info >= MINIMUM, "Python 3.11 or newer", f"this one is {version}; or make PYTHON=...", "python3"),
        (importlib.util.find_spec("ensurepip") is not None, "python3 -m venv", "creates .venv", "python3-venv"),
        (os.path.exists(header), "Python.h", "native operators are built", "python3-dev"),  # noqa: PTH110
        (shutil.which("git") is not None, "git", "jobs run from a snapshot of the commit", "git"),
        (shutil.which("g++") is not None, "g++", "native operators are built", "g++"),
        (library("libGL.so.1"), "libGL.so.1", "OpenCV's wheel loads it", "libgl1"),
        (library("libglib-2.0.so.0"), "libglib-2.0.so.0", "OpenCV's wheel loads it", "libglib2.0-0"),
    ]
    return [(what, why, package) for there, what, why, package in checks if not there]


def main() -> int:
    """Print what is missing; exit status 1 when something is."""
    lacks = missing()
    for what, why, package in lacks:
        print(f"missing: {what} ({why}): apt-get install {package}", file=sys.stderr)
    if lacks:
        print("all at once: apt-get install " + " ".join(package for *_, package in lacks), file=sys.stderr)
    return 1 if lacks else 0


if __name__ == "__main__":
    sys.exit(main())
