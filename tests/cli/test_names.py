"""From what is typed to what is meant."""

from __future__ import annotations

from typing import Any

import pytest

from repro.cli import names
from repro.cli.names import Selection
from repro.errors import ReproError, TableError


def test_a_bare_name_is_taken_when_it_is_unique(bench: Any) -> None:
    assert bench.call("show", "table1", "--json").json["name"] == "toy/table1"


def test_an_ambiguous_name_is_taken_by_paper_and_says_so(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.declare("other/table1")
    monkeypatch.setenv("REPRO_PAPER", "toy")
    done = bench.call("show", "table1", "--json")
    assert done.json["name"] == "toy/table1"
    assert "toy/table1" in done.err and "other/table1" in done.err


def test_an_ambiguous_name_without_a_paper_is_refused(bench: Any) -> None:
    bench.declare("other/table1")
    done = bench.call("show", "table1")
    assert done.code == 2
    assert "toy/table1" in done.err and "other/table1" in done.err


def test_a_wrong_name_gets_the_nearest(bench: Any) -> None:
    done = bench.call("show", "toy/tabel1")
    assert done.code == 2
    assert "Did you mean toy/table1?" in done.err


def test_cells_by_id_and_by_label(bench: Any) -> None:
    for address in ("toy/table1/better/1%", "table1/Better/1%"):
        table, row, column = names.cell(address)
        assert (table.name, row.id, column.id) == ("toy/table1", "better", "1%")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("toy/table1/bettr/1%", "Did you mean better?"),
        ("toy/table1/better/2%", "has no column '2%'"),
        ("table1", "write TABLE/ROW/COLUMN"),
    ],
)
def test_wrong_cells(bench: Any, address: str, told: str) -> None:
    with pytest.raises(TableError, match=told.replace("?", r"\?")):
        names.cell(address)


def test_lists_globs_labels_and_ranges(bench: Any) -> None:
    table = names.load_table("toy/table1")
    assert names.select(table, "Plain, b*", "1*", "1,3") == Selection(("plain", "better"), ("1%", "10%"), (1, 3))
    assert names.select(table, seeds="1-3").seeds == (1, 2, 3)
    assert names.select(table, ["better", "plain"]).rows == ("plain", "better")
    assert not names.select(table)


def test_all_faults_of_a_selection_at_once(bench: Any) -> None:
    with pytest.raises(TableError) as caught:
        names.select(names.load_table("toy/table1"), "plane,x*", "2%", "one")
    for told in ("no row 'plane'. Did you mean plain?", "no row 'x*'", "no column '2%'", "'one' is no seed"):
        assert told in str(caught.value)


def test_a_selection_writes_its_options(bench: Any) -> None:
    assert Selection(("plain",), None, (1, 2)).options() == " --rows plain --seeds 1,2"
    assert Selection().options() == ""


def test_scale_by_name_then_environment_then_paper(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names.scale(None) == "paper"
    monkeypatch.setenv("REPRO_SCALE", "tiny")
    assert names.scale(None) == "tiny"
    assert names.scale("small") == "small"
    with pytest.raises(ReproError, match=r"Did you mean small\?"):
        names.scale("smal")


def test_cluster_by_name_then_environment_then_local(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names.cluster_name(None) == "local"
    monkeypatch.setenv("REPRO_CLUSTER", str(bench.cluster))
    assert names.load_cluster(None).executor == "debug"
