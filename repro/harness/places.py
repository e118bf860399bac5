"""Where things lie. Each place has an environment variable, so that tests, demos and clusters can move it.

| Function          | Variable               | Default                                  |
|-------------------|------------------------|------------------------------------------|
| ``benchmarks()``  | ``REPRO_BENCHMARKS``   | ``benchmarks/`` of the project           |
| ``results()``     | ``REPRO_RESULTS``      | ``results/`` of the project              |
| ``output_root()`` | ``REPRO_OUTPUT``       | ``~/.cache/repro``                       |
| ``datasets_root()`` | ``DETECTRON2_DATASETS`` | ``datasets/`` in the output root      |
"""

from __future__ import annotations

import os
from pathlib import Path


def project_root() -> Path:
    """The folder that holds ``repro/`` and, in a checkout, ``benchmarks/`` and ``slurm/`` beside it."""
    return Path(__file__).resolve().parents[2]


def benchmarks() -> Path:
    """Folder of the tables."""
    return _place("REPRO_BENCHMARKS", project_root() / "benchmarks")


def results() -> Path:
    """Folder of plans, records and rendered tables."""
    return _place("REPRO_RESULTS", project_root() / "results")


def output_root() -> Path:
    """Folder of checkpoints and logs, outside the repository."""
    return _place("REPRO_OUTPUT", Path("~/.cache/repro"))


def datasets_root() -> Path:
    """Folder of the data sets, as Detectron2 names it."""
    return _place("DETECTRON2_DATASETS", output_root() / "datasets")


def _place(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().absolute()
