"""Declared tables and their plans, each loaded and planned once for all tests of this folder: recipes take seconds."""

from __future__ import annotations

import functools
import json

import pytest

from repro.harness import places, table
from repro.harness import plan as planning
from repro.harness.plan import Plan, Resolved
from repro.harness.table import Table


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPRO_BENCHMARKS", raising=False)


@functools.cache
def load(name: str) -> Table:
    return table.load(name, places.project_root() / "benchmarks")


@functools.cache
def resolve(config: str, overrides: str, scale: str) -> Resolved:
    from repro.engine.config import resolve as engine_resolve

    return engine_resolve(config, json.loads(overrides), scale)


@functools.cache
def plan(name: str, scale: str) -> Plan:
    return planning.plan(
        load(name), lambda config, overrides, scale: resolve(config, json.dumps(dict(overrides)), scale), scale
    )


def printed(name: str) -> int:
    """How many numbers a table prints; those of rows with published weights are of READMEs, or of other rows again."""
    return sum(len(row.paper) for row in load(name).rows if not row.published)
