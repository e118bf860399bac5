"""What ``launch`` asks an executor to do, what comes back, and the events in between.

An executor is a module of this package with ``submit(request) -> Launched`` and ``cancel(cluster, signatures)``; one
with a queue also has ``observe(cluster, signatures, patient=False) -> Observation`` and ``logs(cluster, signature)``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from repro.harness import places
from repro.harness.cluster import Cluster
from repro.harness.launch.snapshot import Code, take
from repro.harness.plan import Plan
from repro.harness.state import StageState
from repro.harness.work import Work

What = Literal["submitted", "started", "progress", "finished", "failed", "blocked", "elsewhere", "stopped"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a stage, for a progress display.

    Attributes:
        what: ``elsewhere`` means that another process or job runs the stage and this one waits for it.
        reason: Why, for ``failed``, ``blocked``, ``elsewhere`` and ``stopped``.
        progress: Content of the stage's ``progress.json``: iteration, iterations, eta_seconds, losses, phase.
        slot: Which local slot runs it.
    """

    what: What
    signature: str
    label: str
    reason: str = ""
    progress: Mapping[str, Any] | None = None
    slot: int | None = None


@dataclass
class Launched:
    """How a launch went. Lists hold signatures, in the order in which things happened.

    Attributes:
        todo: What had to run, with the reason, in the plan's order.
        finished: Stages that ended well while we watched, whoever ran them.
        failed, blocked: Signature to reason.
        jobs: Signature to the queue's job.
        interrupted: We were told to stop before all was done.
    """

    todo: dict[str, str] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing failed, was blocked or was interrupted."""
        return not (self.failed or self.blocked or self.interrupted)


@dataclass(frozen=True)
class Request:
    """A launch, worked out.

    Attributes:
        todo: Signatures of the stages to run, in topological order, with the reason. Their parents are in ``todo``,
            in ``waiting`` or available.
        waiting: Stages that are running or queued already, by whoever started them; those in ``todo`` may need them.
        states: State of every stage of the plan at the time of the look.
        project: Folder whose code is frozen for the jobs.
        wait: Whether to stay until all is done; executors without a queue always do.
        retry: Whether failed stages are started again.
        on_event: Called with each ``Event``, in the thread that called ``launch``.
    """

    plan: Plan
    cluster: Cluster
    records: Path
    todo: Mapping[str, str]
    waiting: tuple[str, ...]
    states: Mapping[str, StageState]
    entry: str
    project: Path
    allow_dirty: bool
    wait: bool
    on_event: Callable[[Event], None]
    retry: bool = False

    @functools.cached_property
    def code(self) -> Code:
        """The frozen code that the jobs run; taken when first asked for."""
        return take(self.project, self.cluster.output_root, allow_dirty=self.allow_dirty)

    def work(self, signature: str, code: Mapping[str, Any] | None = None) -> Work:
        """Return the work of a stage, as it travels to a job; ``code`` describes code that was not frozen."""
        return Work(
            stage=self.plan.stages[signature],
            output_root=self.cluster.output_root,
            records=self.records,
            datasets_root=self.cluster.datasets_root or places.datasets_root(),
            code=dict(code or self.code.about),
        )

    def tell(self, what: What, signature: str, reason: str = "", **more: Any) -> None:
        """Report an event."""
        self.on_event(Event(what, signature, self.plan.stages[signature].label, reason, **more))
