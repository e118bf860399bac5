"""Where things lie: five folders, each with a default and a variable of the environment that moves it.

=================  =====================  ==============================================================
folder             variable               default
=================  =====================  ==============================================================
``benchmarks()``   REPRO_BENCHMARKS       ``benchmarks/`` of the project: what papers claim
``results()``      REPRO_RESULTS          ``results/`` of the project: plans, records, tables
``output_root()``  REPRO_OUTPUT           ``~/.cache/repro``: checkpoints and logs, outside the repository
``datasets_root()``  DETECTRON2_DATASETS  ``datasets/`` in the output root
=================  =====================  ==============================================================

The environment is read at each call and never at import, so a test or a job sees what it has set.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def project_root() -> Path:
    """Return the checkout that holds this package, or the current folder when the package is installed elsewhere."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def benchmarks() -> Path:
    """Return the folder of the tables."""
    return _place("REPRO_BENCHMARKS", project_root() / "benchmarks")


def results() -> Path:
    """Return the folder of plans, records and rendered tables."""
    return _place("REPRO_RESULTS", project_root() / "results")


def output_root() -> Path:
    """Return the folder that holds a folder a stage."""
    return _place("REPRO_OUTPUT", Path("~/.cache/repro"))


def datasets_root() -> Path:
    """Return the folder of the data sets, as Detectron2 lays them out."""
    return _place("DETECTRON2_DATASETS", output_root() / "datasets")


def default_paper() -> str | None:
    """Return the paper that a bare ``table5`` means: REPRO_PAPER, else ``[tool.repro] default_paper``, else None."""
    if paper := os.environ.get("REPRO_PAPER"):
        return paper
    settings = project_root() / "pyproject.toml"
    if not settings.is_file():
        return None
    found = tomllib.loads(settings.read_text(encoding="utf-8")).get("tool", {}).get("repro", {}).get("default_paper")
    return str(found) if found else None


def shown(path: Path) -> str:
    """Return ``path`` as a message should name it: relative to the project where it lies in it."""
    root = project_root()
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _place(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().absolute()
