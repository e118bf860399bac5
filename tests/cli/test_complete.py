"""The shell's TAB, asked as the shell asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from repro.cli import complete


def offered(bench: Any, line: str) -> list[str]:
    """What bash would show for a line, whose last word is being typed."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-c", "from repro.cli import main; main()"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"_REPRO_COMPLETE": "complete_bash", "COMP_WORDS": line.rstrip() or line, "COMP_CWORD": str(len(words) - 1)},
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("repro sta", ["status"]),
        ("repro show toy/", ["toy/table1"]),
        ("repro run toy/table1 --scale t", ["tiny"]),
        ("repro run toy/table1 --rows Plain,b", ["Plain,better"]),
        ("repro run toy/table1 --rows plain,b", ["plain,better"]),
        ("repro run toy/table1 --columns 1", ["1%", "10%"]),
    ],
)
def test_completion_in_bash(bench: Any, line: str, expected: list[str]) -> None:
    assert offered(bench, line) == expected


def test_addresses_are_completed_part_by_part(bench: Any) -> None:
    assert complete.addresses("to") == ["toy/table1/"]
    assert complete.addresses("toy/table1/b") == ["toy/table1/better/"]
    assert complete.addresses("toy/table1/better/10") == ["toy/table1/better/10%"]


def test_names_are_completed_without_reading_a_table(bench: Any) -> None:
    bench.declare("toy/table2", "this: [is not YAML")
    bench.declare("other/table1", "neither: {is this")
    assert complete.tables("toy") == ["toy/table1", "toy/table2"]
    assert complete.tables("table1") == ["other/table1", "toy/table1"]
    assert complete.ids("toy/table2", "rows") == []


def test_clusters_scales_and_nightlies(bench: Any) -> None:
    (bench.benchmarks / "nightly").mkdir()
    (bench.benchmarks / "nightly" / "smoke.yaml").write_text("")
    assert "local" in complete.clusters("lo")
    assert complete.scales("s") == ["small", "smoke"]
    assert complete.nightlies("sm") == ["smoke"]
    assert "coco" in complete.families("c")
