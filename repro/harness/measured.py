"""What the records say of one cell: a score for each seed, what failed, where it is written down and what it cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from repro.harness import record
from repro.harness.record import ORIGINS, Record
from repro.harness.statistics import Sample, summarise
from repro.harness.verdict import Cost

if TYPE_CHECKING:
    from repro.harness.plan import Cell, Plan
    from repro.harness.state import StageState

FAILED = ("failed", "blocked")
"""States of a stage that end its cell. A vanished job is not among them: the next run submits it again."""

OWN_KINDS = ("train", "finetune", "evaluate")
"""Kinds of stage that each further seed of a cell adds, where one seed does not show which stages are shared."""


@dataclass(frozen=True)
class Measured:
    """One cell, over its seeds.

    Attributes:
        values: Score by seed, of the seeds that are done. NaN where the metric is undefined.
        wanted: All seeds of the plan.
        failures: Reason by seed, for seeds with a failed stage.
        waiting: State in words by seed, for seeds neither done nor failed.
        signatures: The evaluations' signatures, in the order of ``wanted``.
        records: File names of the records that ``values`` were read from, relative to the folder of records.
        origins: Where the values come from, each once.
        marks: What a reader must know of the records: a dirty tree, a remark.
        machines: What the values were measured on, in words, each once.
        cost: Of one more seed, from the seeds that are done.
    """

    values: dict[int, float] = field(default_factory=dict)
    wanted: tuple[int, ...] = ()
    failures: dict[int, str] = field(default_factory=dict)
    waiting: dict[int, str] = field(default_factory=dict)
    signatures: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    cost: Cost | None = None

    @property
    def sample(self) -> Sample | None:
        """Summary over the seeds that are done, None without any or where the metric is undefined."""
        known = [value for value in self.values.values() if not math.isnan(value)]
        return summarise(known) if known and len(known) == len(self.values) else None

    @property
    def done(self) -> bool:
        """Whether every seed of the plan has a score."""
        return bool(self.wanted) and len(self.values) == len(self.wanted) and not self.undefined

    @property
    def undefined(self) -> bool:
        return any(math.isnan(value) for value in self.values.values())


class Records:
    """Reads each record file once, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, Record | None] = {}

    def best(self, signature: str) -> Record | None:
        """The record to believe: what we trained before published weights before imports; of equals, the newest."""
        if signature not in self._seen:
            found = record.read(signature, self.folder)
            self._seen[signature] = min(found, key=lambda one: (ORIGINS.index(one.origin), -one.n), default=None)
        return self._seen[signature]


def measure(
    plan: Plan,
    cells: Sequence[Cell],
    metric: str,
    records: Records,
    states: Mapping[str, StageState] | None = None,
) -> Measured:
    """Gather one cell of the table, ``cells`` over its seeds, from records and, where given, the states of its jobs."""
    values: dict[int, float] = {}
    failures: dict[int, str] = {}
    waiting: dict[int, str] = {}
    found: list[Record] = []
    for cell in cells:
        best = records.best(cell.stages[-1])
        score = None if best is None else score_of(best, metric)
        if best is not None and score is not None:
            values[cell.seed] = score
            found.append(best)
        elif best is not None:
            failures[cell.seed] = f"its record has no {metric}, only {', '.join(sorted(best.metrics)) or 'no metrics'}"
        elif failure := _failure(cell, plan, states):
            failures[cell.seed] = failure
        else:
            waiting[cell.seed] = _waiting(cell, plan, states)
    return Measured(
        values=values,
        wanted=tuple(cell.seed for cell in cells),
        failures=failures,
        waiting=waiting,
        signatures=tuple(cell.stages[-1] for cell in cells),
        records=tuple(f"{one.signature}{f'.{one.n}' if one.n else ''}.json" for one in found),
        origins=tuple(sorted({one.origin for one in found}, key=ORIGINS.index)),
        marks=_marks(found),
        machines=tuple(dict.fromkeys(_machine(one, metric) for one in found)),
        cost=_cost(plan, cells, records),
    )


def score_of(found: Record, metric: str) -> float | None:
    """A record's value of a metric, named in full (``coco_box.AP``) or by its key (``AP``)."""
    return found.metrics.get(metric, found.metrics.get(metric.partition(".")[2]))


def _machine(found: Record, metric: str) -> str:
    """What a record says of the machine: GPU or processor, threads, and the library that served the metric."""
    threads = found.hardware.get("threads")
    counted = f"{threads} thread{'s' if threads != 1 else ''}" if threads is not None else ""
    device = found.hardware.get("gpu") or found.hardware.get("cpu") or ""
    return ", ".join(filter(None, [device, counted, found.implementation.get(metric.partition(".")[0], "")]))


def _failure(cell: Cell, plan: Plan, states: Mapping[str, StageState] | None) -> str | None:
    """Reason of the first failed stage of a cell."""
    for signature in cell.stages:
        state = (states or {}).get(signature)
        if state is not None and state.state in FAILED:
            return f"{plan.stages[signature].kind} {signature} {state.state}: {state.reason}"
    return None


def _waiting(cell: Cell, plan: Plan, states: Mapping[str, StageState] | None) -> str:
    """What the first unfinished stage of a cell is doing."""
    for signature in cell.stages:
        state = (states or {}).get(signature)
        if state is not None and state.state not in ("recorded", "available"):
            return f"{plan.stages[signature].kind} {state.state}"
    return "not run"


def _marks(found: list[Record]) -> tuple[str, ...]:
    marks = {one.remark for one in found if one.remark}
    if any(one.code.get("dirty") for one in found):
        marks.add("ran from a tree with uncommitted changes")
    if len({one.code.get("commit") for one in found}) > 1:
        marks.add("seeds ran at different commits")
    return tuple(sorted(marks))


def _cost(plan: Plan, cells: Sequence[Cell], records: Records) -> Cost | None:
    """Machine time of the stages that one more seed would add, averaged over the seeds that are done."""
    uses = Counter(signature for cell in cells for signature in set(cell.stages))
    hours: list[float] = []
    gpus = False
    for cell in cells:
        own = [s for s in cell.stages if _is_own(plan, s, uses[s], len(cells))]
        found = [one for one in map(records.best, own) if one is not None]
        if not own or len(found) < len(own):
            continue
        counts = [int(one.hardware.get("gpus") or 0) for one in found]
        gpus = gpus or any(counts)
        hours.append(sum(one.seconds * max(count, 1) for one, count in zip(found, counts, strict=True)) / 3600)
    return Cost(sum(hours) / len(hours), "GPU-hours" if gpus else "hours on a CPU") if hours else None


def _is_own(plan: Plan, signature: str, uses: int, seeds: int) -> bool:
    return uses == 1 if seeds > 1 else plan.stages[signature].kind in OWN_KINDS
