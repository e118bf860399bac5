"""Numbers and JSON as they are printed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from repro.cli import output


@dataclass(frozen=True)
class Thing:
    where: Path
    values: tuple[float, ...]


class Pair(NamedTuple):
    left: int
    right: set[str]


def test_json_holds_data_classes_and_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_json({"thing": Thing(Path("/a"), (1.5, math.nan, math.inf)), 3: Pair(1, {"b", "a"})})
    assert json.loads(capsys.readouterr().out) == {
        "thing": {"where": "/a", "values": [1.5, None, None]},
        "3": {"left": 1, "right": ["a", "b"]},
    }


def test_brackets_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    grid = output.grid("name")
    grid.add_row("[bold]not bold[/bold]")
    output.show(grid)
    assert "[bold]not bold[/bold]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.6, "1 min 00 s"),
        (61, "1 min 01 s"),
        (3599.7, "1 h 00 min"),
        (90_000, "25 h 00 min"),
        (math.nan, ""),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert output.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3.2e9, "3.2 GB"), (2e12, "2.0 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert output.size(count) == text
