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
    with pytest.raises(FigureError, match="no row has a score"):
        drawing.gather([one for one in sources if one.baseline])


def test_lines_have_means_spreads_and_the_printed_points(lab: Any) -> None:
    name = "toy/figure3"
    drawing = lab.drawing(name)
    data = drawing.gather(lab.sources(name))
    axes = drawing.draw(data).axes[0]
    by_x: dict[float, list[float]] = {}
    for row in data.rows:
        if row["row"] == "ours":
            by_x.setdefault(row["x"], []).append(row["gain"])
    line, printed = (one for one in axes.get_lines() if one.get_label() in ("_nolegend_", "Ours, printed"))
    assert line.get_xydata().tolist() == [[x, sum(by_x[x]) / 2] for x in sorted(by_x)]
    assert printed.get_xydata().tolist() == [[25.0, 4.1]]
    assert axes.get_xlabel() == "labelled images" and "points" in axes.get_ylabel()
