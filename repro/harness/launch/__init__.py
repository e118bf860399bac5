"""Run a plan: see what is missing, start it once, and leave or wait.

``launch`` looks at records, folders and queue afresh each time, so it may be called again at any moment, by anybody,
also after it was killed: what is finished is not repeated and what is queued is not submitted twice.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from repro.errors import ClusterError
from repro.harness import atomic, places, state
from repro.harness.cluster import Cluster
from repro.harness.launch.payload import mark_cancelled
from repro.harness.launch.request import Event, Launched, Request
from repro.harness.plan import Plan
from repro.harness.state import Observation, StageState

ENTRY = "repro.engine.stage:run"

__all__ = ["ENTRY", "Event", "Launched", "cancel", "launch", "logs", "status"]


def launch(
    plan: Plan,
    cluster: Cluster,
    *,
    wait: bool = False,
    retry: bool = False,
    dry_run: bool = False,
    entry: str = ENTRY,
    records: Path | None = None,
    project: Path | None = None,
    allow_dirty: bool | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Launched:
    """Start every stage of ``plan`` that has to run and neither runs nor waits in a queue.

    Args:
        plan: The plan.
        cluster: Where to run it.
        wait: Stay until all is done; without a queue (``local``, ``debug``) that is always so.
        retry: Start failed stages again.
        dry_run: Only say what would be started, and why.
        entry: What a job calls with its work; the engine's by default.
        records: Folder of the records; the project's ``results/records`` by default.
        project: Folder whose code the jobs run; this project's by default.
        allow_dirty: Allow uncommitted changes in it; the cluster's file decides by default.
        on_event: Called with what happens, for a progress display.

    Returns:
        What was to do and what came of it.

    Raises:
        LaunchError: the code has uncommitted changes, or the queue refuses, or did not answer for minutes.
    """
    began = time.monotonic()
    records = records or places.results() / "records"
    states = status(plan, cluster, records=records, patient=True)
    todo = state.to_run(plan, states, retry=retry)
    waiting = tuple(signature for signature, one in states.items() if one.live)
    if dry_run or not (todo or (waiting and (wait or cluster.executor != "slurm"))):
        launched = Launched(todo=todo)
    else:
        request = Request(
            plan=plan,
            cluster=cluster,
            records=records,
            todo=todo,
            waiting=waiting,
            states=states,
            entry=entry,
            project=project or places.project_root(),
            allow_dirty=cluster.allow_dirty if allow_dirty is None else allow_dirty,
            wait=wait,
            on_event=on_event or (lambda event: None),
            retry=retry,
        )
        launched = _executor(cluster).submit(request)
    # What failed before and was not asked for again counts: the plan is not done.
    before = {sig: one.reason for sig, one in states.items() if one.state == "failed" and sig not in todo}
    launched.failed = before | launched.failed
    launched.blocked = state.blocked_by(plan, states, todo) | launched.blocked
    launched.seconds = time.monotonic() - began
    return launched


def status(
    plan: Plan, cluster: Cluster, *, records: Path | None = None, patient: bool = False
) -> dict[str, StageState]:
    """Return the state of every stage of ``plan`` on ``cluster``, from queue, records and failure files.

    Progress, with an estimate of the remaining seconds, is in ``StageState.progress`` of the stages that run.

    Args:
        plan: The plan.
        cluster: Where it runs.
        records: Folder of the records; the project's ``results/records`` by default.
        patient: Ask again for some minutes where the queue does not answer, instead of ending at once.

    Raises:
        LaunchError: the queue does not answer.
    """
    records = records or places.results() / "records"
    return state.survey(plan, cluster.output_root, records, observe(cluster, plan, patient=patient))


def observe(cluster: Cluster, plan: Plan, *, patient: bool = False) -> Observation | None:
    """Return what the cluster's queue says of the plan's stages; None where there is no queue."""
    executor = _executor(cluster)
    if not hasattr(executor, "observe"):
        return None
    observation: Observation = executor.observe(cluster, set(plan.stages), patient=patient)
    return observation


def cancel(
    plan: Plan, cluster: Cluster, *, signatures: set[str] | None = None, records: Path | None = None
) -> list[str]:
    """End the plan's stages that run or are queued; they go on from their last checkpoints when run again.

    Args:
        plan: The plan.
        cluster: Where they run.
        signatures: Only these; all of the plan's by default.
        records: Folder of the records; the project's ``results/records`` by default.

    Returns:
        The signatures of the stages that were told to end.
    """
    states = status(plan, cluster, records=records)
    chosen = [sig for sig, one in states.items() if one.live and (signatures is None or sig in signatures)]
    for signature in chosen:  # first the marks: a job that is told to end looks for its own
        mark_cancelled(cluster.output_root / signature)
    if chosen:
        _executor(cluster).cancel(cluster, chosen)
    return chosen


def logs(plan: Plan, signature: str, cluster: Cluster) -> list[Path]:
    """Return the log files of a stage, the engine's first, then what the queue kept of its jobs."""
    output = cluster.output_root / plan.stages[signature].signature
    executor = _executor(cluster)
    files = [output / "log.txt"]
    if hasattr(executor, "logs"):
        files += executor.logs(cluster, signature)
    return [path for path in files if path.exists()]


def failure(plan: Plan, signature: str, cluster: Cluster) -> dict[str, object] | None:
    """Return what the stage's last failure left: error, message, traceback, host, attempt; None without one."""
    return atomic.glance(cluster.output_root / plan.stages[signature].signature / state.FAILURE)


def _executor(cluster: Cluster) -> ModuleType:
    if cluster.executor not in ("slurm", "local", "debug"):
        raise ClusterError(f"{cluster.name}: there is no executor {cluster.executor!r}")
    return importlib.import_module(f"repro.harness.launch.{cluster.executor}")
