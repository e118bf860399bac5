"""Who may import whom, and that importing does nothing: no torch below the models, none and no pandas for the help."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

from importlinter.cli import lint_imports

from repro.harness import places

HEAVY = ("torch", "torchvision", "detectron2", "cv2", "pandas", "scipy", "submitit")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:repro", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=places.project_root(),
        env=os.environ | {"PYTHONPATH": str(places.project_root())},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def modules(package: str) -> list[str]:
    root = places.PACKAGE.joinpath(*package.split(".")[1:])
    found = pkgutil.walk_packages([str(root)], prefix=f"{package}.")
    return sorted(module.name for module in found if not module.name.endswith("__main__"))


def heavy_after(names: list[str]) -> list[str]:
    code = "import sys, importlib\n" + "".join(f"importlib.import_module({name!r})\n" for name in names)
    return run(code + f"print(*[name for name in {HEAVY} if name in sys.modules])").split()


def test_the_layers_hold() -> None:
    """The contracts of pyproject.toml, by import-linter."""
    assert lint_imports(config_filename=str(places.project_root() / "pyproject.toml"), no_cache=True) == 0


def test_a_broken_contract_would_be_noticed(tmp_path: Path) -> None:
    """The linter sees the package that runs here: a contract that cannot hold fails."""
    wrong = tmp_path / "contracts.toml"
    wrong.write_text(
        '[tool.importlinter]\nroot_package = "repro"\n\n[[tool.importlinter.contracts]]\nname = "upside down"\n'
        'type = "layers"\nlayers = ["repro.errors", "repro.harness"]\n',
        encoding="utf-8",
    )
    assert lint_imports(config_filename=str(wrong), no_cache=True) != 0


def test_the_harness_imports_nothing_heavy() -> None:
    names = [name for name in modules("repro.harness") if not name.endswith((".slurm", ".sbatch"))]
    assert len(names) > 15
    assert heavy_after(["repro", "repro.errors", *names]) == []


def test_submitting_needs_no_torch() -> None:
    assert not set(heavy_after(modules("repro.harness"))) - {"submitit"}


def test_the_command_line_imports_nothing_heavy() -> None:
    assert heavy_after(["repro.cli", *modules("repro.cli")]) == []


SET_BY_OTHERS = {
    "LD_LIBRARY_PATH",  # cv2
    "QT_QPA_FONTDIR",  # cv2
    "QT_QPA_PLATFORM_PLUGIN_PATH",  # cv2
    "OPENCV_OPENCL_RUNTIME",  # detectron2
    "KMP_DUPLICATE_LIB_OK",  # torch
    "KMP_INIT_AT_FORK",  # torch
    "TORCHINDUCTOR_CACHE_DIR",  # torch
}


def test_importing_changes_and_says_nothing() -> None:
    """No environment, no output, no threads: importing any of our modules defines names and no more."""
    names = [name for name in modules("repro") if not name.startswith("repro.configs")]  # recipes are loaded by path
    assert {"repro.engine.train", "repro.data.loader", "repro.meta_arch.detreg"} <= set(names)
    code = (
        "import importlib, json, os, threading\n"
        "before = dict(os.environ)\n"
        + "".join(f"importlib.import_module({name!r})\n" for name in names)
        + "changed = [k for k in {**before, **os.environ} if before.get(k) != os.environ.get(k)]\n"
        "print(json.dumps([sorted(changed), threading.active_count()]))"
    )
    changed, threads = json.loads(run(code))  # which is all that was printed
    assert set(changed) <= SET_BY_OTHERS
    assert threads == 1
