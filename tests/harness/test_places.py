"""Each place has a default and a variable that moves it, read when asked and not when imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.harness import places

VARIABLES = {
    "benchmarks": "REPRO_BENCHMARKS",
    "results": "REPRO_RESULTS",
    "output_root": "REPRO_OUTPUT",
    "datasets_root": "DETECTRON2_DATASETS",
}


@pytest.mark.parametrize(("function", "variable"), VARIABLES.items())
def test_a_variable_moves_a_place(function: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "~/elsewhere")
    assert getattr(places, function)() == Path.home() / "elsewhere"
    monkeypatch.setenv(variable, "relative")
    assert getattr(places, function)() == Path.cwd() / "relative"


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    assert places.benchmarks() == places.project_root() / "benchmarks"
    assert places.results() == places.project_root() / "results"
    assert places.output_root() == Path.home() / ".cache" / "repro"
    assert not places.output_root().is_relative_to(places.project_root())
    monkeypatch.setenv("REPRO_OUTPUT", "/data/out")
    assert places.datasets_root() == Path("/data/out/datasets")


def test_the_project_is_where_its_settings_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (places.project_root() / "pyproject.toml").is_file()
    monkeypatch.setattr(places, "PACKAGE", tmp_path / "site-packages" / "repro")
    monkeypatch.chdir(tmp_path)
    assert places.project_root() == tmp_path


def test_default_paper_comes_from_the_environment_then_the_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REPRO_PAPER", "adept")
    assert places.default_paper() == "adept"
    monkeypatch.delenv("REPRO_PAPER")
    monkeypatch.setattr(places, "project_root", lambda: tmp_path)
    assert places.default_paper() is None
    (tmp_path / "pyproject.toml").write_text('[tool.repro]\ndefault_paper = "dino"\n', encoding="utf-8")
    assert places.default_paper() == "dino"


def test_messages_name_files_from_the_project(tmp_path: Path) -> None:
    assert places.shown(places.project_root() / "benchmarks" / "a.yaml") == str(Path("benchmarks") / "a.yaml")
    assert places.shown(tmp_path / "a.yaml") == str(tmp_path / "a.yaml")
