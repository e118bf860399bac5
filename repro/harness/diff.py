"""A table's results beside the paper's: a tidy frame, one row a cell and one a claim, each with a verdict and a reason.

At scale ``paper`` the reference is the printed number (the authors' correction, where there is one). At any other scale
it is the table's own ``accepted`` number of that scale: a score at a small scale is never set against a paper's. The
printed number is shown all the same. Claims, which are about differences between rows, are judged at every scale.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from repro.harness import reference
from repro.harness.measured import Measured, Records, measure
from repro.harness.reference import Reference
from repro.harness.statistics import (
    Difference,
    Pool,
    between_rows,
    difference,
    further_seeds,
    holm,
    itself,
    margin,
    summarise,
)
from repro.harness.verdict import INCOMPLETE, JUDGED, Cost, Judgement, Verdict, judge, judge_claim, never_run, signed

if TYPE_CHECKING:
    import pandas as pd

    from repro.harness.plan import Cell, Plan
    from repro.harness.state import StageState
    from repro.harness.table import Claim, Column, Row, Table

Against = Literal["paper", "accepted"]
Entry = dict[str, Any]

EMPTY: Entry = {
    "table": "", "row": "", "column": "", "row_label": "", "row_group": "", "column_label": "", "group": "",
    "kind": "cell",
    "scale": "", "metric": "",
    "printed": "", "printed_value": math.nan, "printed_spread": math.nan, "printed_runs": math.nan, "corrected": "",
    "reference": "", "tolerance": math.nan,
    "mean": math.nan, "std": math.nan, "n": 0, "seeds": [], "values": [],
    "difference": math.nan, "low": math.nan, "high": math.nan, "p_value": math.nan,
    "relative_to": "", "relative": math.nan, "printed_relative": math.nan,
    "baseline": "", "baseline_difference": math.nan, "baseline_low": math.nan, "baseline_high": math.nan,
    "verdict": "", "reason": "", "gate": "", "origin": "", "marks": [], "signatures": [], "records": [],
}  # fmt: skip
"""The frame's columns, with what stands in them where there is nothing to say. ``low`` and ``high`` bound the 95 %
interval of ``difference`` (90 % for a claim, which is one-sided at 5 %); ``seeds`` are those done, ``values`` their
scores in the same order; ``reference`` is what the verdict rests on; ``baseline`` is the label of the baseline row.
``relative`` is a latency in shares of that of the row ``relative_to``, the first of its group: of one machine each, it
can be set against the printed one, ``printed_relative``."""

NOT_COMPARED = ("latency",)
"""Metrics that belong to a machine as much as to a detector."""

EXACT = ("parameters",)
"""Metrics that are counted: another seed gives the same number."""


def diff(
    table: Table,
    plan: Plan | None,
    records_folder: Path,
    states: Mapping[str, StageState] | None = None,
    against: Against = "paper",
) -> pd.DataFrame:
    """Compare a table's records with its numbers.

    Args:
        table: The declared table.
        plan: The plan of one scale; without one every cell that could be run is missing.
        records_folder: Where the records lie.
        states: State of the plan's stages, so that failed cells are told from cells not run.
        against: "accepted" sets the paper scale, too, against our own accepted numbers.

    Returns:
        A frame with the columns of `EMPTY`: the cells in the table's order, then its claims.
    """
    import pandas as pd

    comparison = _Comparison(table, plan, Records(records_folder), states, against)
    rows = [
        comparison.cell(row, column) for row in table.rows for column in table.columns if comparison.has(row, column)
    ]
    rows += [comparison.claim(claim) for claim in table.claims]
    return pd.DataFrame(rows, columns=list(EMPTY))


def exit_code(frame: pd.DataFrame, strict: bool = False) -> int:
    """1 if a cell or claim of gate A is worse or failed; 3 if ``strict`` and anything is incomplete; else 0."""
    gated = frame[frame["gate"] == "A"]
    if gated["verdict"].isin([Verdict.WORSE.value, Verdict.FAILED.value]).any():
        return 1
    return 3 if strict and frame["verdict"].isin([word.value for word in INCOMPLETE]).any() else 0


def table_line(frame: pd.DataFrame) -> str:
    """One sentence on the table as a whole, which knows how many cells were judged (Holm at 5 %)."""
    cells = frame[frame["kind"] == "cell"].to_dict("records")
    counts = {word: sum(cell["verdict"] == word for cell in cells) for word in Verdict}
    listed = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    line = f"{_count(len(cells), 'cell')}: {listed or 'none'}."
    judged = [cell for cell in cells if cell["verdict"] in JUDGED]
    if not judged:
        return line
    apart = [
        f"{cell['row']}/{cell['column']}"
        for cell, p in zip(judged, holm([cell["p_value"] for cell in judged]), strict=True)
        if p < 0.05 and cell["verdict"] in (Verdict.BETTER, Verdict.WORSE)
    ]
    verb = "remains" if len(apart) == 1 else "remain"
    found = f"{_count(len(apart), 'difference')} {verb} ({', '.join(apart)})" if apart else "no difference remains"
    return f"{line} Corrected for {_count(len(judged), 'judged cell')} (Holm), {found}."


@dataclass
class _Comparison:
    """One table at one scale, with what its cells share."""

    table: Table
    plan: Plan | None
    records: Records
    states: Mapping[str, StageState] | None
    against: Against

    @cached_property
    def scale(self) -> str:
        return self.plan.scale if self.plan is not None else "paper"

    @cached_property
    def runnable(self) -> set[tuple[str, str]]:
        return set(self.table.runnable_cells(self.scale))

    @cached_property
    def planned(self) -> dict[tuple[str, str], list[Cell]]:
        """The plan's cells, one a seed, by row and column."""
        found: dict[tuple[str, str], list[Cell]] = defaultdict(list)
        for cell in self.plan.cells if self.plan is not None else ():
            found[cell.row, cell.column].append(cell)
        return found

    @cached_property
    def measured(self) -> dict[tuple[str, str], Measured]:
        if self.plan is None:
            return {}
        return {
            (row, column): measure(
                self.plan, self.planned[row, column], self.table.metric_of(column), self.records, self.states
            )
            for row, column in self.runnable
        }

    @cached_property
    def spreads(self) -> dict[str, Pool | None]:
        """Spread over runs by metric: the cells of one metric are a family."""
        metrics = {self.table.metric_of(column.id) for column in self.table.columns}
        return {metric: self._spread(metric) for metric in metrics}

    def gate(self, row: Row, column: Column) -> str:
        """The void gate wins, then the row's, the column's and the table's."""
        gates = [row.gate, column.gate, self.table.gate]
        return "void" if "void" in gates else next(gate for gate in gates if gate)

    def has(self, row: Row, column: Column) -> bool:
        """Whether the table has this cell at all: a dash in print is none, in a row that prints anything."""
        return column.id in row.paper or column.id in row.corrected or not row.paper

    def cell(self, row: Row, column: Column) -> Entry:
        ours = self.measured.get((row.id, column.id), Measured())
        against = self._reference(row, column)
        found = self._difference(ours, against, column)
        judgement = self._excuse(row, column, ours)
        if judgement is None:
            judgement = self._judge(row, column, ours, against, found)
        entry = EMPTY | self._printed(row, column) | self._ours(ours) | self._beside_baseline(row, column, ours)
        entry |= self._relative(row, column)
        return entry | {
            "metric": self.table.metric_of(column.id),
            "gate": self.gate(row, column),
            "reference": f"{against.name}: {against.text}" if against else "",
            "verdict": judgement.verdict.value,
            "reason": judgement.reason,
            **_interval(found if judgement.verdict in JUDGED else None, 0.95),
        }

    def claim(self, claim: Claim) -> Entry:
        """What the paper says of two rows, or of one; ``mean`` and ``difference`` are ours, row minus row."""
        rows = [self.table.row(row) for row in (claim.row, claim.minus) if row is not None]
        column = self.table.column(claim.column)
        metric = claim.metric or self.table.metric_of(column.id)
        ours = [self._measure(row.id, column.id, metric) for row in rows]
        values = _differences(ours)
        found = self._between(ours, metric)
        text = f"{' − '.join(row.label for row in rows)} at {column.label}"
        judgement = never_run(rows, column, self.runnable, self.scale) or self._judge_claim(claim, ours, found, text)
        printed = [row.paper[column.id].value for row in rows if column.id in row.paper]
        difference = _minus(printed) if len(printed) == len(rows) else math.nan
        return EMPTY | {
            **self._place(rows[0], column),
            "kind": "claim",
            "row": claim.id,
            "row_label": claim.text or text,
            "row_group": "",
            "metric": metric,
            "gate": claim.gate,
            "printed": "" if math.isnan(difference) else signed(difference),
            "printed_value": difference,
            "reference": f"above {claim.above:g}" if claim.above is not None else f"below {claim.below:g}",
            "mean": found.value if found else math.nan,
            "n": min(len(one.values) for one in ours),
            "seeds": list(values),
            "values": list(values.values()),
            "origin": ", ".join(dict.fromkeys(origin for one in ours for origin in one.origins)),
            "marks": sorted({mark for one in ours for mark in one.marks}),
            "signatures": [signature for one in ours for signature in one.signatures],
            "records": [name for one in ours for name in one.records],
            "verdict": judgement.verdict.value,
            "reason": judgement.reason,
            **_interval(found if judgement.verdict in JUDGED else None, 0.90),
        }

    def _measure(self, row: str, column: str, metric: str) -> Measured:
        if self.plan is None:
            return Measured()
        if metric == self.table.metric_of(column):
            return self.measured.get((row, column), Measured())
        return measure(self.plan, self.planned[row, column], metric, self.records, self.states)

    def _between(self, ours: list[Measured], metric: str) -> Difference | None:
        """Row minus row, or the row itself where a claim names one; None while a seed is out."""
        if not all(one.done for one in ours):
            return None
        spread = self.spreads.get(metric)
        if len(ours) == 1:
            return itself(summarise(ours[0].values.values()), spread)
        return between_rows(ours[0].values, ours[1].values, spread)

    def _spread(self, metric: str) -> Pool | None:
        if metric.partition(".")[0] in EXACT:
            return Pool(0.0, 1)
        columns = [column for column in self.table.columns if self.table.metric_of(column.id) == metric]
        family = [(row, column) for row in self.table.rows for column in columns]
        ours = [self.measured.get((row.id, column.id), Measured()).sample for row, column in family]
        references = [self._reference(row, column) for row, column in family]
        return reference.spread([sample for sample in ours if sample is not None], references)

    def _reference(self, row: Row, column: Column) -> Reference | None:
        if self.scale == "paper" and self.against == "paper":
            return reference.printed(row, column)
        return reference.accepted(self.table, self.scale, row, column)

    def _difference(self, ours: Measured, against: Reference | None, column: Column) -> Difference | None:
        if ours.sample is None or against is None:
            return None
        return difference(ours.sample, against.sample, self.spreads[self.table.metric_of(column.id)], against.half_unit)

    def _excuse(self, row: Row, column: Column, ours: Measured) -> Judgement | None:
        """Why a cell cannot be judged whatever its reference, or None."""
        metric = self.table.metric_of(column.id)
        if (never := never_run([row], column, self.runnable, self.scale)) is not None:
            return never
        if (unfinished := self._unfinished(ours)) is not None:
            return unfinished
        if ours.undefined:
            return Judgement(Verdict.NOT_COMPARABLE, f"{metric} is undefined on this data (no such objects)")
        if self.gate(row, column) == "void":
            return Judgement(Verdict.NOT_COMPARABLE, "the printed number was retracted, or contradicts another")
        if metric.partition(".")[0] in NOT_COMPARED and not self._same_machine(column, ours):
            return Judgement(Verdict.NOT_COMPARABLE, self._elsewhere(row, column, ours))
        return None

    def _same_machine(self, column: Column, ours: Measured) -> bool:
        """Whether ours were measured on the machine of the printed numbers, and are set against these."""
        if self.scale != "paper" or self.against != "paper" or not column.machine:
            return False
        return all(word.casefold() in one.casefold() for word in column.machine for one in ours.machines)

    def _elsewhere(self, row: Row, column: Column, ours: Measured) -> str:
        """Why a latency is not comparable, and in shares of another row's what it is."""
        reason = f"{self.table.metric_of(column.id)} depends on the machine: ours is of {' and '.join(ours.machines)}"
        reason += f"; the print is of {', '.join(column.machine)}" if column.machine else ""
        relative = self._relative(row, column)
        if not relative:
            return reason
        reason += f"; {relative['relative']:.2f} of {relative['relative_to']}'s"
        printed = relative["printed_relative"]
        return reason if math.isnan(printed) else f"{reason}, printed {printed:.2f}"

    def _relative(self, row: Row, column: Column) -> Entry:
        """A latency in shares of that of the first row of its group, which has none itself; on one machine only."""
        if self.table.metric_of(column.id).partition(".")[0] not in NOT_COMPARED:
            return {}
        first = next(one for one in self.table.rows if one.group == row.group and self.has(one, column))
        ours, base = (self.measured.get((one.id, column.id), Measured()) for one in (row, first))
        if first is row or not (ours.sample and base.sample) or ours.machines != base.machines:
            return {}
        printed = [one.paper[column.id].value for one in (row, first) if column.id in one.paper]
        comparable = self.scale == "paper" and len(printed) == 2
        return {
            "relative_to": first.label,
            "relative": ours.sample.mean / base.sample.mean,
            "printed_relative": printed[0] / printed[1] if comparable else math.nan,
        }

    def _unfinished(self, ours: Measured) -> Judgement | None:
        if self.plan is None:
            return Judgement(Verdict.MISSING, "the table is not planned")
        if not ours.wanted:
            return Judgement(Verdict.MISSING, f"not in the plan of scale {self.scale}")
        if ours.failures:
            return Judgement(Verdict.FAILED, "; ".join(f"seed {seed}: {why}" for seed, why in ours.failures.items()))
        if not ours.values:
            return Judgement(Verdict.MISSING, ", ".join(dict.fromkeys(ours.waiting.values())))
        if ours.waiting:
            waiting = ", ".join(f"seed {seed} {state}" for seed, state in ours.waiting.items())
            return Judgement(Verdict.PARTIAL, f"{len(ours.values)} of {len(ours.wanted)} seeds done; {waiting}")
        return None

    def _judge(
        self, row: Row, column: Column, ours: Measured, against: Reference | None, found: Difference | None
    ) -> Judgement:
        if against is None or found is None or ours.sample is None:
            nothing = (
                "the paper prints no number" if self.scale == "paper" else f"nothing is accepted at scale {self.scale}"
            )
            return Judgement(Verdict.NO_REFERENCE, nothing)
        spread, tolerance = self.spreads[self.table.metric_of(column.id)], self._tolerance(column)
        room = margin(tolerance, against.sample, spread)
        further = None
        if found.outcome(room) == "open":
            further = further_seeds(ours.sample, against.sample, tolerance, spread, against.half_unit)
        runs = f"{_count(ours.sample.n, 'run')} against {against.sample.n} {against.whose}"
        higher = self.table.higher_is_better
        return judge(found, room, higher_is_better=higher, runs=runs, further=further, cost=ours.cost)

    def _judge_claim(self, claim: Claim, ours: list[Measured], found: Difference | None, text: str) -> Judgement:
        unfinished = next((one for one in map(self._unfinished, ours) if one is not None), None)
        if unfinished is not None:
            return unfinished
        if found is None:
            return Judgement(Verdict.NOT_COMPARABLE, "its metric is undefined on this data (no such objects)")
        if len(ours) == 1 and self.scale != "paper":
            return Judgement(Verdict.NOT_COMPARABLE, f"{text} is claimed of scale paper")
        if claim.gate == "void":
            why = f"{text} is {signed(found.value)}; the printed numbers were retracted, or contradict others"
            return Judgement(Verdict.NOT_COMPARABLE, why)
        bound = claim.above if claim.above is not None else claim.below
        assert bound is not None
        seeds = min(len(one.values) for one in ours)
        return judge_claim(found, bound, above=claim.above is not None, seeds=seeds, text=text, cost=_sum(ours))

    def _tolerance(self, column: Column) -> float:
        return self.table.tolerance if column.tolerance is None else column.tolerance

    def _place(self, row: Row, column: Column) -> Entry:
        return {
            "table": self.table.name,
            "row": row.id,
            "column": column.id,
            "row_label": row.label,
            "row_group": row.group or "",
            "column_label": column.label,
            "group": column.group or "",
            "scale": self.scale,
        }

    def _printed(self, row: Row, column: Column) -> Entry:
        number, corrected = row.paper.get(column.id), row.corrected.get(column.id)
        return self._place(row, column) | {
            "printed": number.text if number else "",
            "printed_value": number.value if number else math.nan,
            "printed_spread": _number(number.spread if number else None),
            "printed_runs": _number(number.runs if number else None),
            "corrected": corrected.text if corrected else "",
            "tolerance": self._tolerance(column),
        }

    def _ours(self, ours: Measured) -> Entry:
        return {
            "mean": _number(ours.sample.mean if ours.sample else None),
            "std": _number(ours.sample.std if ours.sample else None),
            "n": len(ours.values),
            "seeds": list(ours.values),
            "values": list(ours.values.values()),
            "origin": ", ".join(ours.origins),
            "marks": list(ours.marks),
            "signatures": list(ours.signatures),
            "records": list(ours.records),
        }

    def _beside_baseline(self, row: Row, column: Column, ours: Measured) -> Entry:
        """Difference to the baseline row in the same column; nothing for the baseline itself."""
        if not self.table.baseline or self.table.baseline == row.id:
            return {}
        base = self.measured.get((self.table.baseline, column.id), Measured())
        label = {"baseline": self.table.row(self.table.baseline).label}
        if not (ours.done and base.done):
            return label
        found = between_rows(ours.values, base.values, self.spreads[self.table.metric_of(column.id)])
        low, high = found.interval(0.95)
        return label | {"baseline_difference": found.value, "baseline_low": low, "baseline_high": high}


def _interval(found: Difference | None, confidence: float) -> Entry:
    if found is None:
        return {}
    low, high = found.interval(confidence)
    return {"difference": found.value, "low": low, "high": high, "p_value": found.p_value()}


def _differences(ours: list[Measured]) -> dict[int, float]:
    """By seed, of the seeds that all rows have."""
    shared = [seed for seed in ours[0].values if all(seed in one.values for one in ours)]
    return {seed: _minus([one.values[seed] for one in ours]) for seed in shared}


def _minus(values: list[float]) -> float:
    return values[0] - sum(values[1:])


def _sum(ours: list[Measured]) -> Cost | None:
    """Cost of one more seed of every row, where all are known and of one kind."""
    costs = [one.cost for one in ours if one.cost is not None]
    if len(costs) < len(ours) or len({cost.unit for cost in costs}) > 1:
        return None
    return Cost(sum(cost.hours for cost in costs), costs[0].unit)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n != 1 else ''}"
