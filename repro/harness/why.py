"""Why a cell missed: what the records say of it, as a list of suspects in the order in which they are worth looking at.

First what is absent, then the recipe against the paper's, the schedule that ran, the resumes, the spread of our seeds,
the code and machines behind them, the shares of error (TIDE). A point that was looked at and is clear is listed too,
and so is one that cannot be answered: both save the reader from asking.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from repro.errors import PlanError
from repro.harness import record
from repro.harness.diff import diff
from repro.harness.measured import FAILED, Records
from repro.harness.record import Record
from repro.harness.signature import differences
from repro.harness.statistics import summarise

if TYPE_CHECKING:
    import pandas as pd

    from repro.harness.plan import Plan, Resolve, Stage
    from repro.harness.state import StageState
    from repro.harness.table import Table

Weight = Literal["suspect", "clear", "unknown"]
SHOWN = 12
"""Differing settings that are listed; the rest is counted."""

OUTLYING = 4.0
"""A seed further than so many median absolute deviations from the median of its cell is named."""


@dataclass(frozen=True)
class Suspect:
    """One point. ``facts`` are its details, a line each."""

    subject: str
    weight: Weight
    text: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """A cell's verdict, and what speaks for and against each suspect."""

    address: str
    verdict: str
    reason: str
    suspects: tuple[Suspect, ...]

    def text(self) -> str:
        """For a reader: numbered suspects, then what is clear, then what is unknown."""
        lines = [f"{self.address}: {self.verdict}", f"  {self.reason}"]
        for weight, title in (("suspect", "suspects"), ("clear", "clear"), ("unknown", "not known")):
            chosen = [one for one in self.suspects if one.weight == weight]
            lines += [title] if chosen else []
            for number, one in enumerate(chosen, 1):
                lines.append(f"  {number}. {one.subject}: {one.text}")
                lines += [f"       {fact}" for fact in one.facts]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Case:
    """All that is known of a cell. ``found`` maps signatures to records, ``evaluations`` holds those of its seeds."""

    table: Table
    plan: Plan
    stages: tuple[Stage, ...]
    found: dict[str, Record]
    evaluations: tuple[Record, ...]
    repeats: dict[str, list[Record]]
    states: Mapping[str, StageState]
    cell: dict[str, Any]
    resolve: Resolve | None


def why(
    table: Table,
    plan: Plan,
    row: str,
    column: str,
    records_folder: Path,
    states: Mapping[str, StageState] | None = None,
    resolve: Resolve | None = None,
) -> Explanation:
    """List the suspects of one cell.

    Args:
        table: The declared table.
        plan: Its plan at the scale in question.
        row: Id of the row.
        column: Id of the column.
        records_folder: Where the records lie.
        states: State of the plan's stages, for failed and missing ones.
        resolve: Resolves recipes; with it the recipe that ran is set against the one of scale ``paper``.

    Raises:
        PlanError: The plan does not hold the cell.
    """
    frame = diff(table, plan, records_folder, states)
    case = _case(table, plan, row, column, records_folder, states or {}, frame, resolve)
    looks: list[Callable[[_Case], list[Suspect]]] = [
        _absent,
        _recipe,
        _schedule,
        _resumes,
        _spread,
        _code,
        _data,
        _tide,
    ]
    suspects = [suspect for look in looks for suspect in look(case)]
    suspects.sort(key=lambda one: ("suspect", "clear", "unknown").index(one.weight))
    return Explanation(f"{table.name}/{row}/{column}", case.cell["verdict"], case.cell["reason"], tuple(suspects))


def _case(
    table: Table,
    plan: Plan,
    row: str,
    column: str,
    folder: Path,
    states: Mapping[str, StageState],
    frame: pd.DataFrame,
    resolve: Resolve | None,
) -> _Case:
    cells = [cell for cell in plan.cells if (cell.row, cell.column) == (row, column)]
    if not cells:
        raise PlanError(f"{table.name}/{row}/{column} is not in the plan of scale {plan.scale}: plan it first")
    records = Records(folder)
    signatures = dict.fromkeys(signature for cell in cells for signature in cell.stages)
    found = {signature: best for signature in signatures if (best := records.best(signature)) is not None}
    match = (frame["kind"] == "cell") & (frame["row"] == row) & (frame["column"] == column)
    return _Case(
        table=table,
        plan=plan,
        stages=tuple(plan.stages[signature] for signature in signatures),
        found=found,
        evaluations=tuple(found[cell.stages[-1]] for cell in cells if cell.stages[-1] in found),
        repeats={signature: record.read(signature, folder) for signature in found},
        states=states,
        cell={str(key): value for key, value in frame[match].to_dict("records")[0].items()},
        resolve=resolve,
    )


def _absent(case: _Case) -> list[Suspect]:
    """Stages without a record: failed ones, and parents whose results we use without knowing how they came about."""
    facts = []
    for stage in case.stages:
        if stage.signature in case.found:
            continue
        state = case.states.get(stage.signature)
        told = f"{state.state}: {state.reason}" if state is not None and state.state in FAILED else "no record"
        facts.append(f"{stage.kind} {stage.label} ({stage.signature}, seed {stage.seed}): {told}")
    if not facts:
        return [Suspect("stages", "clear", f"all {len(case.stages)} are recorded")]
    return [Suspect("stages", "suspect", f"{len(facts)} of {len(case.stages)} have no record", _some(facts))]


def _recipe(case: _Case) -> list[Suspect]:
    """What ran against the recipe of scale paper, which carries the settings that the paper states."""
    if case.plan.scale == "paper":
        return [Suspect("recipe", "clear", "ran at scale paper; each value names its source in the recipe's file")]
    if case.resolve is None:
        text = f"ran at scale {case.plan.scale}; what that changes needs the recipes to be resolved"
        return [Suspect("recipe", "unknown", text)]
    facts = []
    for spec in case.table.cell_stages(case.cell["row"], case.cell["column"]):
        stated = case.resolve(spec.config, spec.overrides, "paper").recipe
        ran = next(stage.recipe for stage in case.stages if stage.name == spec.name)
        facts += [f"{spec.name}: {key} is {ours!r}, stated {paper!r}" for key, ours, paper in differences(ran, stated)]
    text = f"scale {case.plan.scale} changes {len(facts)} settings of the paper's recipe"
    return [Suspect("recipe", "suspect" if facts else "clear", text, _some(facts))]


def _schedule(case: _Case) -> list[Suspect]:
    """Iterations in the records against the recipe, and against each other."""
    facts, ran = [], []
    for stage in case.stages:
        done = case.found.get(stage.signature)
        if done is None or not _trains(stage):
            continue
        planned = stage.recipe["train"].get("iterations")
        ran.append(f"{stage.kind} seed {stage.seed}: {done.iterations} iterations{_length(stage.recipe)}")
        if planned is not None and done.iterations != planned:
            facts.append(f"{stage.kind} seed {stage.seed}: {done.iterations} iterations, the recipe says {planned}")
    uneven = [
        f"{name}: {', '.join(map(str, sorted(counts)))} iterations over the seeds"
        for name, counts in _iterations_by_name(case).items()
        if len(counts) > 1
    ]
    if not ran:
        return [Suspect("schedule", "unknown", "no training of this cell is recorded")]
    if facts or uneven:
        return [Suspect("schedule", "suspect", "what ran is not what the recipe says", _some([*facts, *uneven]))]
    return [Suspect("schedule", "clear", "ran as the recipe says", _some(ran))]


def _trains(stage: Stage) -> bool:
    return stage.kind in ("pretrain", "train", "finetune") and isinstance(stage.recipe.get("train"), Mapping)


def _iterations_by_name(case: _Case) -> dict[str, set[int]]:
    counts: dict[str, set[int]] = {}
    for stage in case.stages:
        if stage.signature in case.found and _trains(stage):
            counts.setdefault(stage.name, set()).add(case.found[stage.signature].iterations)
    return counts


def _length(recipe: Mapping[str, Any]) -> str:
    train, data = recipe["train"], recipe.get("data")
    batch = data.get("total_batch_size") if isinstance(data, Mapping) else None
    epochs = f", {train['epochs']:g} epochs asked for" if train.get("epochs") is not None else ""
    return (f" of {batch} images" if batch else "") + epochs


def _resumes(case: _Case) -> list[Suspect]:
    facts = [
        f"{one.kind} {signature}: {one.attempts} attempts" for signature, one in case.found.items() if one.attempts > 1
    ]
    facts += [
        f"{many[0].kind} {signature}: recorded {len(many)} times, {_agreement(many)}"
        for signature, many in case.repeats.items()
        if len(many) > 1
    ]
    if facts:
        text = "some stages were interrupted or ran again; equal results are promised: compare the losses at the seam"
        return [Suspect("resumes", "suspect", text, _some(facts))]
    return [Suspect("resumes", "clear", "every recorded stage ran once, without interruption")] if case.found else []


def _agreement(repeats: list[Record]) -> str:
    """Whether repeats of one stage measured the same, NaN being equal to NaN."""
    equal = all(str(sorted(one.metrics.items())) == str(sorted(repeats[0].metrics.items())) for one in repeats)
    return "with equal metrics" if equal else "with different metrics"


def _spread(case: _Case) -> list[Suspect]:
    """Our seeds against each other and against the spread that the paper prints."""
    values = [value for value in case.cell["values"] if not math.isnan(value)]
    scores = ", ".join(f"{v:.2f} (seed {s})" for s, v in zip(case.cell["seeds"], case.cell["values"], strict=True))
    if len(values) < 2:
        return [
            Suspect("seeds", "unknown", f"{len(values)} seed done: no spread to speak of", (scores,) if scores else ())
        ]
    ours = summarise(values)
    assert ours.std is not None
    facts = [scores, *_outliers(case.cell)]
    printed, runs = case.cell["printed_spread"], case.cell["printed_runs"]
    if case.plan.scale != "paper" or math.isnan(printed) or math.isnan(runs) or runs < 2 or printed == 0:
        weight: Weight = "suspect" if len(facts) > 1 else "clear"
        return [Suspect("seeds", weight, f"standard deviation {ours.std:.2f} over {ours.n} seeds", tuple(facts))]
    from scipy import stats

    ratio = (ours.std / printed) ** 2
    p = 2 * min(stats.f.sf(ratio, ours.n - 1, runs - 1), stats.f.cdf(ratio, ours.n - 1, runs - 1))
    text = (
        f"standard deviation {ours.std:.2f} over {ours.n} seeds, {printed:g} over {runs:g} in the paper (p = {p:.2g})"
    )
    return [Suspect("seeds", "suspect" if p < 0.05 or len(facts) > 1 else "clear", text, tuple(facts))]


def _outliers(cell: Mapping[str, Any]) -> list[str]:
    """Seeds far from the median, where there are enough to tell."""
    values = sorted(cell["values"])
    if len(values) < 4:
        return []
    middle = _median(values)
    reach = _median(sorted(abs(value - middle) for value in values))
    far = [
        seed
        for seed, value in zip(cell["seeds"], cell["values"], strict=True)
        if abs(value - middle) > OUTLYING * reach
    ]
    return [f"far from the others: seed {', '.join(map(str, far))}"] if far and reach > 0 else []


def _median(ordered: list[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _code(case: _Case) -> list[Suspect]:
    """What differs between the seeds besides the seed: commit, uncommitted changes, libraries, machines."""
    if not case.found:
        return []
    records = list(case.found.values())
    dirty = [f"{one.kind} {one.signature}" for one in records if one.code.get("dirty")]
    facts = [f"uncommitted changes: {', '.join(dirty)}"] if dirty else []
    facts += _several("commits", {str(one.code.get("commit"))[:12] for one in records})
    for name in sorted({key for one in records for key in one.versions}):
        facts += _several(f"versions of {name}", {one.versions.get(name, "none") for one in records})
    facts += _several("kinds of GPU", {str(one.hardware.get("gpu") or "none") for one in records if one.iterations})
    facts += _several("implementations", {str(sorted(one.implementation.items())) for one in case.evaluations})
    facts += [f"{one.signature}: {one.remark}" for one in records if one.remark]
    if facts:
        return [
            Suspect("code", "suspect", "not everything ran from one clean commit on one installation", _some(facts))
        ]
    return [Suspect("code", "clear", "one clean commit, one installation")]


def _several(what: str, seen: set[str]) -> list[str]:
    return [f"{len(seen)} {what}: {', '.join(sorted(seen))}"] if len(seen) > 1 else []


def _data(case: _Case) -> list[Suspect]:
    """Data sets of the evaluations: the same for all seeds, and those that the plan names."""
    if not case.evaluations:
        return []
    seen = {str(sorted(one.datasets.items())) for one in case.evaluations}
    if len(seen) > 1:
        return [Suspect("data", "suspect", "the seeds were scored on different data", tuple(sorted(seen)))]
    names = ", ".join(case.evaluations[0].datasets) or "no named data set"
    return [Suspect("data", "clear", f"all seeds were scored on the same {names}")]


def _tide(case: _Case) -> list[Suspect]:
    """Mean share of each kind of error, in AP lost, largest first."""
    keys = sorted({key for one in case.evaluations for key in one.metrics if key.startswith("tide.")})
    if not keys:
        return [
            Suspect("errors", "unknown", "no TIDE shares are in the records; add the metric tide to the evaluation")
        ]
    shares = {
        key.removeprefix("tide."): summarise(one.metrics[key] for one in case.evaluations if key in one.metrics).mean
        for key in keys
    }
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    text = f"most is lost to {ordered[0][0]}"
    return [Suspect("errors", "suspect", text, tuple(f"{name}: {share:.2f}" for name, share in ordered))]


def _some(facts: list[str]) -> tuple[str, ...]:
    rest = len(facts) - SHOWN
    return tuple(facts[:SHOWN]) + ((f"and {rest} more",) if rest > 0 else ())
