"""`repro ops`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from repro.ops import build as builder
from repro.ops import library


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What would have been compiled."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def build(op: str, *, report: Any, **settings: Any) -> Path:
        library.sources(op)
        calls.append((op, settings))
        report(f"{op}: built")
        return Path(f"/cache/{op}.so")

    monkeypatch.setattr(builder, "build", build)
    return calls


def test_build_compiles_everything(bench: Any, compiled: list[tuple[str, dict[str, Any]]]) -> None:
    done = bench.call("ops", "build")
    assert done.code == 0, done.all
    assert [op for op, _ in compiled] == library.operators()
    assert "ms_deform_attn: built" in done.out
    assert compiled[0][1] == {"cuda": None, "architectures": None, "force": False}


def test_build_of_one_as_asked(bench: Any, compiled: list[tuple[str, dict[str, Any]]]) -> None:
    asked = ("ms_deform_attn", "--cuda", "--arch", "80", "--arch", "90+", "--force", "--json")
    done = bench.call("ops", "build", *asked)
    assert done.json == {"ms_deform_attn": "/cache/ms_deform_attn.so"}
    assert compiled == [("ms_deform_attn", {"cuda": True, "architectures": ["80", "90+"], "force": True})]


def test_an_operator_that_does_not_exist(bench: Any, compiled: list[tuple[str, dict[str, Any]]]) -> None:
    done = bench.call("ops", "build", "ms_deform_att")
    assert done.code == 2
    assert "Did you mean ms_deform_attn?" in done.err


def test_list_says_what_serves(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"a": library.Library(Path("/cache/a.so")), "b": library.Library(None, "not built; run repro ops build b")}
    monkeypatch.setattr(library, "operators", lambda: list(found))
    monkeypatch.setattr(library, "find", found.__getitem__)
    assert "not built; run repro ops build b" in bench.call("ops", "list").out
    assert bench.call("ops", "list", "--json").json == {
        "a": {"path": "/cache/a.so", "reason": ""},
        "b": {"path": None, "reason": "not built; run repro ops build b"},
    }
