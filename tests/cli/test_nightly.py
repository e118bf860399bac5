"""`repro nightly`: a night, its account, and accepting what it found."""

from __future__ import annotations

from typing import Any

import pytest
import yaml


@pytest.fixture
def listed(bench: Any) -> Any:
    folder = bench.benchmarks / "nightly"
    folder.mkdir()
    (folder / "smoke.yaml").write_text(
        "tables:\n  - {table: toy/table1, scale: tiny, rows: [plain, better], columns: [1%]}\n"
        f"cluster: {bench.cluster}\nminutes: 5\nfloor: 0.5\n"
    )
    return bench


def accepted(bench: Any) -> Any:
    return yaml.safe_load((bench.benchmarks / "toy" / "table1.yaml").read_text()).get("accepted")


def test_a_first_night_has_nothing_to_compare_with(listed: Any) -> None:
    done = listed.call("nightly")
    assert done.code == 0, done.all
    assert done.out.count("no number is accepted yet") == 2
    assert not listed.results.exists()  # a night has folders of its own
    assert accepted(listed) is None


def test_numbers_are_accepted_with_a_reason_and_then_watched(listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    listed.call("nightly", "smoke")
    done = listed.call("nightly", "smoke", "--accept", "the first numbers")
    assert done.code == 0, done.all
    assert accepted(listed)["tiny"]["better"]["1%"].startswith("13.20 ± 0.10 (3)")
    text = (listed.benchmarks / "toy" / "table1.yaml").read_text()
    assert "the first numbers" in text
    assert listed.call("nightly", "smoke").code == 0
    monkeypatch.setitem(listed.scores, "Better", 8.0)
    night = listed.call("nightly", "smoke")
    assert night.code == 1
    assert "outside" in night.out and "toy/table1/better/1%" in night.out
    assert "--accept" in night.err


def test_an_empty_reason_accepts_nothing(listed: Any) -> None:
    listed.call("nightly", "smoke")
    done = listed.call("nightly", "smoke", "--accept", " ")
    assert done.code == 2
    assert "reason" in done.err
    assert accepted(listed) is None


def test_accepting_from_the_results_of_a_table(listed: Any) -> None:
    listed.run("--rows", "plain", "--columns", "10%")
    done = listed.call("nightly", "--table", "toy/table1", "--scale", "tiny", "--accept", "measured by hand")
    assert done.code == 0, done.all
    assert list(accepted(listed)["tiny"]) == ["plain"]


def test_a_failed_stage_is_told_and_ends_with_1(listed: Any) -> None:
    listed.failing.add("pretrain")
    done = listed.call("nightly", "--json")
    assert done.code == 1
    assert {one["word"] for one in done.json["findings"] if one["row"] == "better"} == {"failed"}


def test_accepting_before_any_night(listed: Any) -> None:
    done = listed.call("nightly", "smoke", "--accept", "why not")
    assert done.code == 2
    assert "repro nightly smoke" in done.err


def test_a_list_that_does_not_exist(listed: Any) -> None:
    done = listed.call("nightly", "smok")
    assert done.code == 2
    assert "smoke" in done.err
