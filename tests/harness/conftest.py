"""A small table, its plan and its records on disk, for the tests of everything that compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from repro.harness import diff as diff_module
from repro.harness import plan as plan_module
from repro.harness import record as record_module
from repro.harness import table as table_module
from repro.harness.plan import Plan, Resolved
from repro.harness.record import Record
from repro.harness.table import Table

NOW = datetime(2024, 5, 1, tzinfo=UTC).isoformat()


class Bench:
    """One table in a folder of its own: declare it, plan it, record scores, compare."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = root / "records"
        self.path = root / "benchmarks" / "toy" / "table1.yaml"
        self.table: Table
        self.plan: Plan

    def declare(self, text: str, scale: str = "paper", **chosen: Any) -> Bench:
        """Write the table, load it and plan it at ``scale``; ``chosen`` are rows, columns and seeds of the plan."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text, encoding="utf-8")
        self.table = table_module.load(str(self.path), self.root / "benchmarks")
        self.plan = plan_module.plan(self.table, resolve, scale, **chosen)
        return self

    def record(self, row: str, column: str, scores: Iterable[float] | Mapping[int, float], **fields: Any) -> None:
        """Record the evaluations of a cell, one score a seed in the plan's order, or by seed."""
        cells = [cell for cell in self.plan.cells if (cell.row, cell.column) == (row, column)]
        by_seed = scores if isinstance(scores, Mapping) else dict(zip((c.seed for c in cells), scores, strict=False))
        for cell in cells:
            if cell.seed in by_seed:
                self.write(cell.stages[-1], metrics={"AP": float(by_seed[cell.seed])}, **fields)

    def write(self, signature: str, **fields: Any) -> Record:
        """Record one stage."""
        stage = self.plan.stages[signature]
        same = ("kind", "label", "scale", "recipe", "seed", "parents", "datasets")
        known: dict[str, Any] = {
            **{name: getattr(stage, name) for name in same},
            "metrics": {},
            "code": {"commit": "abc", "dirty": False},
            "seconds": 360.0,
            "started": NOW,
            "finished": NOW,
        }
        found = Record(signature=signature, **(known | fields))
        record_module.write(found, self.records)
        return found

    def resolve(self, config: str, overrides: Mapping[str, Any], scale: str) -> Resolved:
        return resolve(config, overrides, scale)

    def frame(self, **options: Any) -> pd.DataFrame:
        return diff_module.diff(self.table, self.plan, self.records, **options)

    def cell(self, row: str, column: str, **options: Any) -> pd.Series[Any]:
        """One line of the frame."""
        frame = self.frame(**options)
        return frame[(frame["row"] == row) & (frame["column"] == column)].iloc[0]


def resolve(config: str, overrides: Mapping[str, Any], scale: str) -> Resolved:
    """A recipe without meaning: what was asked for."""
    recipe: dict[str, Any] = {"config": config, "scale": scale, "train": {"iterations": 10 if scale == "paper" else 2}}
    return Resolved(recipe | dict(overrides), {"coco_2017_val": "f" * 8})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
