"""Rounds of passes, told by a clock that each pass moves on by itself."""

import pytest
import torch

from repro.deploy import timing


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 0.0
        self.ran = []

    def __call__(self):
        return self.now

    def taking(self, name, times):
        left = iter(times)

        def one_pass():
            self.ran.append(name)
            self.now += next(left)

        return one_pass


def test_passes_take_turns_and_the_first_rounds_do_not_count():
    clock = Clock()
    passes = {"a": clock.taking("a", [9.0, 0.1, 0.3, 0.2]), "b": clock.taking("b", [7.0, 0.4, 0.4, 0.4])}
    found = timing.rounds(passes, warmup=1, repeats=3, clock=clock)
    assert clock.ran == ["a", "b"] * 4
    assert (found["a"].median, found["a"].repeats) == (pytest.approx(200), 3)
    assert found["a"].fps == pytest.approx(5)
    assert found["b"].p10 == pytest.approx(400) == found["b"].p90


def test_percentiles():
    found = timing.summarise([value / 1000 for value in range(101)])
    assert (found.p10, found.median, found.p90) == pytest.approx((10, 50, 90))


def test_a_machine_says_how_many_threads_ran():
    assert timing.machine(torch.device("cpu")) == {"threads": torch.get_num_threads()}


def test_clocks_are_what_nvidia_smi_says(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 585, 5000, 1590, 44, 27.1, P0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert timing.clocks(0) == dict(zip(timing.CLOCKS, ["585", "5000", "1590", "44", "27.1", "P0"], strict=True))
    monkeypatch.setenv("PATH", "")
    assert timing.clocks(0) == {}
