"""The words that a cell can be given, and the sentences that go with them.

A verdict is a word with a reason, and it speaks of an interval, not of two means. The list is closed. Where a number
comes from (retrained, published weights, another code base) is its origin and no verdict.

With m the margin (`statistics.margin`), a cell *matches* when the 90 % interval of its difference lies inside ±m (two
one-sided tests at 5 %), is *better* or *worse* when the 95 % interval excludes zero and is not inside ±m, and is
*undecided* otherwise. "Matches" is asked first: a difference that is certainly real and certainly small matches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from repro.harness.statistics import MOST_SEEDS, Difference

if TYPE_CHECKING:
    from repro.harness.table import Column, Row


class Verdict(StrEnum):
    """Closed list; the value is the word as shown."""

    MATCHES = "matches"
    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"
    NO_REFERENCE = "no reference"
    NOT_COMPARABLE = "not comparable"
    PARTIAL = "partial"
    MISSING = "missing"
    FAILED = "failed"
    CITED = "cited"
    NOT_RUNNABLE = "not runnable yet"


JUDGED = frozenset({Verdict.MATCHES, Verdict.BETTER, Verdict.WORSE, Verdict.UNDECIDED})
"""Verdicts that come from an interval. All others say why there is none."""

INCOMPLETE = frozenset({Verdict.PARTIAL, Verdict.MISSING, Verdict.FAILED})
"""Cells that were meant to be run and are not done."""

MEANING = {
    Verdict.MATCHES: "the 90 % interval of the difference lies inside the tolerance",
    Verdict.BETTER: "the 95 % interval excludes zero and leaves the tolerance, on the good side",
    Verdict.WORSE: "the 95 % interval excludes zero and leaves the tolerance, on the bad side",
    Verdict.UNDECIDED: "neither: too few runs for their spread",
    Verdict.NO_REFERENCE: "nothing to set it against at this scale",
    Verdict.NOT_COMPARABLE: "shown, not judged",
    Verdict.PARTIAL: "some seeds are done, not all",
    Verdict.MISSING: "not run",
    Verdict.FAILED: "a stage failed",
    Verdict.CITED: "printed beside the others, not run here",
    Verdict.NOT_RUNNABLE: "its recipe, or weights of this scale, do not exist",
}


@dataclass(frozen=True)
class Judgement:
    """A verdict and the sentence that explains it."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Cost:
    """What one more seed of a cell takes, from the seeds recorded. ``unit``: "GPU-hours" or "hours on a CPU"."""

    hours: float
    unit: str

    def times(self, seeds: int) -> str:
        hours = self.hours * seeds
        return f"about {hours:.0f} {self.unit}" if hours >= 10 else f"about {hours:.2g} {self.unit}"


def never_run(
    rows: Iterable[Row], column: Column, runnable: Collection[tuple[str, str]], scale: str
) -> Judgement | None:
    """Why a cell, or a claim about several rows, has no result whatever is run; None if it can have one.

    Args:
        rows: Of the cell or the claim.
        column: Of the cell or the claim.
        runnable: Ids of row and column of all cells that can be run at ``scale``.
        scale: The scale.
    """
    for row in rows:
        if row.cited:
            return Judgement(Verdict.CITED, "quoted by the paper, not run here")
        if (row.id, column.id) not in runnable:
            needs = dict.fromkeys(filter(None, [row.waits_for(scale), column.not_runnable]))
            return Judgement(Verdict.NOT_RUNNABLE, "; ".join(needs) or "no stages are declared")
    return None


def judge(
    found: Difference,
    room: float,
    *,
    higher_is_better: bool = True,
    runs: str = "",
    further: int | None = None,
    cost: Cost | None = None,
) -> Judgement:
    """Verdict on a cell.

    Args:
        found: Ours minus the reference.
        room: The margin inside which results count as the same.
        higher_is_better: False for latency, memory and other metrics of which less is more.
        runs: What was compared, as "3 runs against 5", for the reason.
        further: Number of further seeds that would decide, from `statistics.further_seeds`.
        cost: Of one further seed.
    """
    outcome = found.outcome(room)
    how = f"({found.method}{', ' + runs if runs else ''})"
    if math.isinf(found.se):
        reason = f"difference {signed(found.value)}; one run, and no cell of its family has two to take a spread from"
        return Judgement(Verdict.UNDECIDED, reason)
    if outcome == "equivalent":
        reason = f"difference {signed(found.value)}; 90 % interval {span(found, 0.90)} inside ±{room:.3g} {how}"
        return Judgement(Verdict.MATCHES, reason)
    wide = f"difference {signed(found.value)}; 95 % interval {span(found, 0.95)}"
    if outcome == "open":
        return Judgement(Verdict.UNDECIDED, f"{wide} holds zero and leaves ±{room:.3g} {how}; {_more(further, cost)}")
    word = Verdict.BETTER if (outcome == "above") == higher_is_better else Verdict.WORSE
    return Judgement(word, f"{wide} excludes zero and leaves ±{room:.3g} {how}")


def judge_claim(
    found: Difference, bound: float, *, above: bool, seeds: int, text: str, cost: Cost | None = None
) -> Judgement:
    """Verdict on what a paper says of two rows: *matches* if it holds, *worse* if the contrary does.

    One-sided at 5 % on either side, since a claim names its side.

    Args:
        found: Row minus row.
        bound: What the difference is said to exceed (or to fall short of).
        above: True for "more than ``bound``", False for "less than".
        seeds: Number of seeds on the side with fewer.
        text: The difference in words, "DETReg − SwAV at 1%".
        cost: Of one further seed of both rows.
    """
    low, high = found.interval(0.90)
    head = f"{text} is {signed(found.value)}"
    if math.isinf(found.se):
        return Judgement(Verdict.UNDECIDED, f"{head} from one seed, and there is no spread to judge it by")
    sure = f"90 % interval {span(found, 0.90)} ({found.method}, {seeds} seed{'s' if seeds != 1 else ''})"
    side = "above" if above else "below"
    if low > bound if above else high < bound:
        return Judgement(Verdict.MATCHES, f"the claim holds: {head}, {sure}, {side} {bound:g}")
    if high < bound if above else low > bound:
        return Judgement(Verdict.WORSE, f"the claim is contradicted: {head}, {sure}, not {side} {bound:g}")
    further = _further_for_claim(found, bound, seeds)
    return Judgement(Verdict.UNDECIDED, f"{head}, {sure}, holds {bound:g}; {_more(further, cost)}")


def signed(value: float, digits: int = 2) -> str:
    """Number with its sign, a true minus, and no minus on zero."""
    text = f"{abs(value):.{digits}f}"
    return f"{'−' if value < 0 and float(text) != 0 else '+'}{text}"


def span(found: Difference, confidence: float) -> str:
    low, high = found.interval(confidence)
    return f"{signed(low)}…{signed(high)}"


def _more(further: int | None, cost: Cost | None) -> str:
    if further is None:
        return f"{MOST_SEEDS} seeds like these would not decide"
    price = f", {cost.times(further)}" if cost is not None else ", cost unknown"
    return f"{further} more seed{'s' if further != 1 else ''} like these would decide{price}"


def _further_for_claim(found: Difference, bound: float, seeds: int) -> int | None:
    """Further seeds of both rows at which the interval would clear the bound, if difference and spread stay."""

    def decided(n: int) -> bool:
        df = found.df * (n - 1) / (seeds - 1) if seeds > 1 else found.df
        low, high = replace(found, se=found.se * math.sqrt(seeds / n), df=df).interval(0.90)
        return low > bound or high < bound

    return _first(seeds, decided)


def _first(have: int, decided: Callable[[int], bool]) -> int | None:
    return next((n - have for n in range(have + 1, MOST_SEEDS + 1) if decided(n)), None)
