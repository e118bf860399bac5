"""Gains: a score less the baseline's of the same column and seed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from repro.errors import FigureError
from repro.harness import record


def test_gains_are_over_the_same_column_and_seed(lab: Any) -> None:
    name = "toy/figure3"
    data = lab.drawing(name).gather(lab.sources(name))
    scores = {
        (one.row.id, one.column.id, one.seed): record.read(one.stages[-1].signature, lab.records)[0].metrics["AP"]
        for one in lab.sources(name)
    }
    assert len(scores) == len(data.rows) == 8 and not data.remarks
    for row in data.rows:
        mine, base = (scores[who, row["column"], row["seed"]] for who in (row["row"], "plain"))
        assert (row["score"], row["gain"], row["x"]) == (mine, mine - base, float(row["column"]))
    assert {row["gain"] for row in data.rows if row["row"] == "plain"} == {0}
    assert any(row["gain"] for row in data.rows)


def test_what_is_not_measured_is_named_and_left_out(lab: Any) -> None:
    name = "toy/figure3"
    drawing, sources = lab.drawing(name), lab.sources(name)
    gone = dataclasses.replace(sources[-1], records=lab.root / "nowhere")
    data = drawing.gather([*sources[:-1], gone])
    assert data.remarks == (f"not drawn, for want of scores: ours/50 seed {gone.seed}",)
    assert len(data.rows) == 7
    same = [dataclasses.replace(one, metric="last.nothing") for one in sources]  # of which no record has a value
    assert all(one.score() is None for one in same)
    with pytest.raises(FigureError, match="no row has a score"):
        drawing.gather(same)
    with pytest.raises(FigureError, match="no row has a score"):
        drawing.gather([one for one in sources if one.baseline])


def test_a_row_that_gains_nothing_is_no_baseline(lab: Any) -> None:
    name = "toy/figure3"
    sources = lab.sources(name)
    plain = [one for one in sources if one.baseline]
    twin = [
        dataclasses.replace(one, row=dataclasses.replace(one.row, id="twin", label="Twin"), baseline=False)
        for one in plain
    ]
    drawing = lab.drawing(name)
    data = drawing.gather([*plain, *twin])
    assert {row["gain"] for row in data.rows} == {0} and len(data.rows) == 8
    labels = [text.get_text() for text in drawing.draw(data).legends[0].get_texts()]
    assert labels == ["Plain (baseline)", "Twin"]


def test_lines_have_means_spreads_and_at_scale_paper_the_printed_points(lab: Any) -> None:
    name = "toy/figure3"
    drawing, sources = lab.drawing(name), lab.sources(name)
    data = drawing.gather(sources)
    axes = drawing.draw(data).axes[0]
    by_x: dict[float, list[float]] = {}
    for row in data.rows:
        if row["row"] == "ours":
            by_x.setdefault(row["x"], []).append(row["gain"])
    (line,) = (one for one in axes.get_lines() if one.get_label() == "_nolegend_")
    assert line.get_xydata().tolist() == [[x, sum(by_x[x]) / 2] for x in sorted(by_x)]
    assert axes.get_xlabel() == "labelled images" and axes.get_ylabel() == "ΔAP over Plain, points"
    assert "Ours, printed" not in [one.get_label() for one in axes.get_lines()]
    paper = [
        dataclasses.replace(one, stages=tuple(dataclasses.replace(stage, scale="paper") for stage in one.stages))
        for one in sources
    ]
    lines = drawing.draw(drawing.gather(paper)).axes[0].get_lines()
    (printed,) = (one for one in lines if one.get_label() == "Ours, printed")
    assert {tuple(point) for point in printed.get_xydata().tolist()} == {(25.0, 4.1)}
