"""What PyYAML swallows is kept or refused: lines, printed digits, keys written twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.errors import ClusterError, TableError
from repro.harness.yaml_lines import Document, parse

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=3),
    max_leaves=8,
)


def read(tmp_path: Path, text: str) -> Document:
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return parse(path, TableError)


def test_values_lines_and_digits(tmp_path: Path) -> None:
    document = read(tmp_path, "a:\n  b: 26.30\n  c: [1, x]\n# a comment\nd: {e: 0x10}\n")
    assert document.values == {"a": {"b": 26.3, "c": [1, "x"]}, "d": {"e": 16}}
    assert document.texts["a", "b"] == "26.30"
    assert document.line("a", "b") == 2
    assert document.line("a", "c", "1") == 3
    assert document.line("d", "e") == 5
    assert document.line("d", "not", "there") == 5
    assert document.line("nowhere") == 1


def test_keys_are_text_as_written(tmp_path: Path) -> None:
    assert list(read(tmp_path, "10: a\nno: b\n1.50: c\n2022-01-01: d\n1%: e\n").values) == [
        "10",
        "no",
        "1.50",
        "2022-01-01",
        "1%",
    ]


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("2E5", 2e5), ("-.5e1", -5.0), ("1.e3", 1e3)])
def test_numbers_with_an_exponent_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    assert read(tmp_path, f"a: {text}\n").values == {"a": value}
    assert yaml.safe_load("1e-4") == "1e-4"  # why this is needed


def test_a_key_written_twice_is_a_fault_with_both_lines(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 4\n")
    assert document.faults == [
        (5, "b.c is written twice, first in line 3"),
        (6, "a is written twice, first in line 1"),
    ]
    assert document.values == {"a": 1, "b": {"c": 1, "d": 2}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: [1\nc: 2\n", "file.yaml:3:2: not YAML"),
        ("a: b: c\n", "file.yaml:1:5: not YAML: mapping values are not allowed"),
        ("a:\n\t- 1\n", "file.yaml:2:1: not YAML"),
        ("a: *nothing\n", "file.yaml:1:4: not YAML"),
        ("a: 2022-13-40\n", "file.yaml: not YAML"),
        ("a: 1\n--- \nb: 2\n", "file.yaml:2:1: not YAML"),
    ],
)
def test_malformed_yaml_names_file_line_and_column(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TableError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_other_failures_name_the_file_and_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"none\.yaml cannot be read"):
        parse(tmp_path / "none.yaml", ClusterError)
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: \xe9\n")
    with pytest.raises(ClusterError, match=r"latin\.yaml cannot be read"):
        parse(path, ClusterError)


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "# only a comment\n").values is None


@RELAXED
@given(content=plain)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    text = yaml.safe_dump(content, allow_unicode=True)
    document = read(tmp_path_factory.mktemp("yaml"), text)
    assert document.values == content
    assert not document.faults
