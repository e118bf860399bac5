"""How every stage of a plan stands, worked out afresh from what lies on the disk and in the queue.

Order of evidence, strongest first: a live entry of the queue, or a living process that holds the stage; the stage's
own record or failure file; the result that submitit kept; the queue's word on how the job ended; and when a job was
submitted of which nothing is left, *vanished* (after a grace for slow file systems): never "running", never a hang.

Every look-up goes by name, so ten thousand stages cost some ten thousand ``stat`` calls and no listing of folders.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from repro.errors import did_you_mean
from repro.harness import atomic, claim, record
from repro.harness.availability import available

if TYPE_CHECKING:
    from repro.harness.plan import Plan, Stage
    from repro.harness.record import Record

Name = Literal["recorded", "available", "running", "pending", "failed", "blocked", "vanished", "to run"]
DONE = ("recorded", "available")
LIVE = ("running", "pending")
GRACE = 60.0  # seconds during which a job that left no trace may still be one whose files have not arrived
FAILURE = "failure.json"
CANCELLED = "cancelled.json"
PROGRESS = "progress.json"
DEPENDENCY = "DependencyNeverSatisfied"


class Queued(Protocol):
    """What a queue says of a stage's newest job."""

    @property
    def job(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def live(self) -> bool: ...
    @property
    def running(self) -> bool: ...


@dataclass(frozen=True)
class Submission:
    """A job that somebody submitted for a stage.

    Attributes:
        job: The queue's id of it; empty when the submitter died before noting it.
        submitted: Seconds since the epoch.
        error: What submitit kept of a failure; empty when it kept nothing.
    """

    job: str
    submitted: float
    error: str = ""


@dataclass(frozen=True)
class Observation:
    """What a queue and its bookkeeping say, by signature. A stage that neither knows is absent."""

    queue: Mapping[str, Queued] = field(default_factory=dict)
    submissions: Mapping[str, Submission] = field(default_factory=dict)


@dataclass(frozen=True)
class StageState:
    """How a stage stands.

    Attributes:
        state: ``recorded``: measured, but its files are not here (an evaluation needs none); ``available``: measured
            and here; ``blocked``: a parent failed; ``vanished``: started or submitted, and gone without a word.
        reason: Why, in one line, for people.
        job: The queue's job, or ``host:pid`` of a local process.
        progress: Content of ``progress.json`` while the stage runs.
        attempt: How often it was started.
    """

    state: Name
    reason: str = ""
    job: str = ""
    progress: dict[str, Any] | None = None
    attempt: int = 0

    @property
    def done(self) -> bool:
        """Whether it was measured."""
        return self.state in DONE

    @property
    def live(self) -> bool:
        """Whether it runs or waits in a queue."""
        return self.state in LIVE


def survey(
    plan: Plan, output_root: Path, records: Path, observation: Observation | None = None, *, grace: float = GRACE
) -> dict[str, StageState]:
    """Return the state of every stage of ``plan``, in its order.

    Args:
        plan: The plan.
        output_root: Where stages keep their folders.
        records: Folder of the records.
        observation: What the queue says; None where there is no queue.
        grace: Seconds to believe in a job that neither queue nor disk knows.

    Raises:
        RecordError: a record is malformed.
    """
    seen = observation or Observation()
    states: dict[str, StageState] = {}
    for signature, stage in plan.stages.items():
        state = look(stage, output_root, records, seen, grace=grace)
        if state.state in ("to run", "vanished"):
            state = _behind_parents(stage, plan, states) or state
        states[signature] = state
    return states


def look(
    stage: Stage, output_root: Path, records: Path, observation: Observation | None = None, *, grace: float = GRACE
) -> StageState:
    """Return the state of one stage, without regard to its parents'."""
    seen = observation or Observation()
    output = output_root / stage.signature
    queued = seen.queue.get(stage.signature)
    if queued and queued.live:
        return _queued(queued, output)
    measured = record.ours(record.read(stage.signature, records))
    if measured and (available(measured, output) or stage.kind == "evaluate"):
        return _measured(measured, output)
    attempt = claim.last(output)
    if attempt and claim.alive(attempt, output):
        where = f"{attempt.host}:{attempt.pid}"
        return StageState("running", attempt.where, where, atomic.glance(output / PROGRESS), attempt.number)
    if measured and not (output / FAILURE).exists():
        return StageState("recorded", "its files are not here", attempt=measured[-1].attempts)
    failure = atomic.glance(output / FAILURE)
    if failure:
        return _failed(failure)
    return _gone(output, attempt, queued, seen.submissions.get(stage.signature), grace)


def to_run(plan: Plan, states: Mapping[str, StageState], *, retry: bool = False) -> dict[str, str]:
    """Return which stages have to be started now, with the reason, in the plan's order.

    Asked from the end: a cell whose last stage is recorded needs nothing, not even that its parents' files are here;
    one that is not needs each of its parents available, so a recorded parent whose files are elsewhere is run again,
    and only then (or when ``plan.keep`` names it). Stages that run or are queued are left alone. Those that failed are
    started only with ``retry``, and what stands behind them is not.
    """
    reasons: dict[str, str] = {}
    for signature, why in _needed(plan, states).items():
        state = states[signature]
        if state.live or (state.state == "failed" and not retry):
            continue
        stopped = [p for p in plan.stages[signature].parents.values() if p in states and _stops(p, states, reasons)]
        if not stopped:
            reasons[signature] = why
    return reasons


def blocked_by(plan: Plan, states: Mapping[str, StageState], todo: Mapping[str, str]) -> dict[str, str]:
    """Return the needed stages that cannot start since something before them failed, with the reason."""
    needed = _needed(plan, states)
    return {
        signature: states[signature].reason or "a stage before it failed"
        for signature in needed
        if signature not in todo and not states[signature].live and states[signature].state != "failed"
    }


def find(plan: Plan, name: str) -> Stage:
    """Return the stage of ``plan`` that ``name`` means: a signature, its beginning, or a label.

    Raises:
        PlanError: none or several fit; the nearest are named.
    """
    from repro.errors import PlanError

    fitting = [s for s in plan.stages.values() if s.signature.startswith(name) or s.label == name]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        listed = ", ".join(f"{s.signature} ({s.label})" for s in fitting[:5])
        raise PlanError(f"{name!r} means {len(fitting)} stages of {plan.table}: {listed}")
    labels = [s.label for s in plan.stages.values()]
    raise PlanError(f"{plan.table} has no stage {name!r}. {did_you_mean(name, labels)}")


def _needed(plan: Plan, states: Mapping[str, StageState]) -> dict[str, str]:
    """Return the stages that unfinished cells still need, in the plan's order, with the reason."""
    parents = {parent for stage in plan.stages.values() for parent in stage.parents.values()}
    ends = {cell.stages[-1] for cell in plan.cells} | (plan.stages.keys() - parents)
    reasons = {end: _why(states[end]) for end in ends if not states[end].done}
    reasons |= {sig: _why(states[sig]) for sig in plan.keep if sig in states and states[sig].state != "available"}
    for signature in reversed(plan.stages):
        if signature not in reasons or states[signature].live:
            continue
        for name in plan.stages[signature].parents.values():
            if name in plan.stages and states[name].state != "available" and name not in reasons:
                child = plan.stages[signature].label
                again = states[name].state == "recorded"
                reasons[name] = (
                    f"recorded, but its files are not here and {child} needs them" if again else _why(states[name])
                )
    return {signature: reasons[signature] for signature in plan.stages if signature in reasons}


def _why(state: StageState) -> str:
    if state.state == "failed":
        return f"failed before: {state.reason}"
    return state.reason or state.state


def _stops(parent: str, states: Mapping[str, StageState], starting: Mapping[str, str]) -> bool:
    """Return whether a stage cannot start because ``parent`` neither is there, nor runs, nor is about to."""
    return parent not in starting and not states[parent].live and states[parent].state != "available"


def _queued(queued: Queued, output: Path) -> StageState:
    attempt = claim.last(output)
    number = attempt.number if attempt else 0
    if queued.running:
        return StageState("running", queued.state.lower(), queued.job, atomic.glance(output / PROGRESS), number)
    if queued.reason == DEPENDENCY:
        return StageState("blocked", "waits for a job that did not succeed", queued.job, attempt=number)
    return StageState("pending", queued.reason, queued.job, attempt=number)


def _measured(measured: list[Record], output: Path) -> StageState:
    here = available(measured, output)
    name: Name = "available" if here else "recorded"
    return StageState(name, "" if here else "its files are not here", attempt=measured[-1].attempts)


def _failed(failure: Mapping[str, Any]) -> StageState:
    reason = f"{failure.get('error', 'failed')}: {failure.get('message', '')}".strip().splitlines()[0]
    name: Name = "blocked" if failure.get("blocked") else "failed"
    return StageState(name, reason, str(failure.get("job") or ""), attempt=int(failure.get("attempt") or 0))


def _gone(
    output: Path, attempt: claim.Attempt | None, queued: Queued | None, submission: Submission | None, grace: float
) -> StageState:
    """Return the state of a stage that neither runs nor left a record or a failure file."""
    number = attempt.number if attempt else 0
    job = submission.job if submission else ""
    if (output / CANCELLED).exists():
        return StageState("to run", "cancelled", job, attempt=number)
    if submission and submission.error:
        return StageState("failed", submission.error, job, attempt=number)
    if queued and queued.state not in ("COMPLETED", "CANCELLED"):  # those two say nothing of a failure
        return StageState("failed", _ended(queued), queued.job, attempt=number)
    if queued and queued.state == "CANCELLED":
        return StageState("to run", "cancelled in the queue", queued.job, attempt=number)
    if submission and time.time() - submission.submitted < grace:
        return StageState("pending", "submitted a moment ago", job, attempt=number)
    if attempt and attempt.state in ("stopped", "requeued"):
        return StageState("to run", "stopped; goes on from its last checkpoint", attempt=number)
    if attempt or submission:
        where = f"attempt {number} ({attempt.where})" if attempt else f"job {job or 'of unknown number'}"
        return StageState("vanished", f"{where} ended without a record or a failure file", job, attempt=number)
    return StageState("to run", "never run")


def _ended(queued: Queued) -> str:
    reason = queued.reason if queued.reason not in ("", "None", "NonZeroExitCode") else ""
    return f"job {queued.job} ended as {queued.state}" + (f" ({reason})" if reason else "")


def _behind_parents(stage: Stage, plan: Plan, states: Mapping[str, StageState]) -> StageState | None:
    """Return ``blocked`` with the first parent that failed, or None."""
    for signature in stage.parents.values():
        parent = states.get(signature)
        if parent and parent.state in ("failed", "blocked"):
            label = plan.stages[signature].label
            return StageState("blocked", f"{label} {parent.state}: {parent.reason}")
    return None
