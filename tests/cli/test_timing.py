"""Latency from the command line."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from typer.testing import CliRunner

from repro.cli import timing
from repro.cli.app import app
from repro.deploy.timing import Latency
from repro.harness import places


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own tables."""
    monkeypatch.setenv("REPRO_BENCHMARKS", str(places.project_root() / "benchmarks"))


def bench(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bench", "latency", *arguments, "--scale", "tiny", "--device", "cpu"])


def test_rows_take_turns_and_what_is_not_installed_is_named() -> None:
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed")
    rows = "rtdetr/table2/rtdetrv2-r?8vd", "rtdetr/rtdetrv2_r34vd.py"
    counts = "--warmup", "0", "--repeats", "2", "--threads", "1"
    done = bench(*rows, "--backends", "eager,tensorrt", *counts, "--format", "markdown")
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "rtdetr/table2/rtdetrv2-r18vd",
        "rtdetr/rtdetrv2_r34vd",
    ]
    assert lines[2].endswith("| 1.000 |")
    assert "1 thread, fp32, batch 1; 0 rounds of warm-up, median of 2" in done.stdout
    assert "tensorrt is left out: tensorrt not installed." in done.stdout


def test_no_backend_at_all_is_an_error() -> None:
    done = bench("rtdetr/table2/rtdetrv2-r18vd", "--backends", "eager", "--half")
    assert done.exit_code == 2 and "half precision needs a GPU" in done.output


def test_ratios_are_within_a_backend() -> None:
    times = {
        ("s", "eager"): Latency(10, 9, 11, 3),
        ("s", "openvino"): Latency(5, 4, 6, 3),
        ("m", "eager"): Latency(20, 19, 21, 3),
        ("m", "openvino"): Latency(20, 19, 21, 3),
    }
    rows = timing._rows(times, {"s": (64, 64), "m": (64, 64)})
    assert [(row["fps"], row["relative"]) for row in rows] == [(100, 1), (200, 1), (50, 0.5), (50, 0.25)]
