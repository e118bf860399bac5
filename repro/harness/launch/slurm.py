"""Stages to SLURM through submitit, and back: submit once, find again, watch, cancel. No accounting, no head process.

A submission is safe against its own death and against a second one beside it. Under one claim the queue is read, what
is missing is chosen, and for each array everything that its jobs need is written down *before* ``sbatch``; the job
carries the batch's name as its comment. So whoever comes next finds the job, whether or not its id was noted.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from repro.errors import ClusterError, LaunchError
from repro.harness import claim, state
from repro.harness.claim import Claim, HeldError
from repro.harness.cluster import Cluster
from repro.harness.launch import batch as batches
from repro.harness.launch import grouping, payload, queue
from repro.harness.launch.batch import Batch
from repro.harness.launch.queue import Entry, QueueAwayError
from repro.harness.launch.request import Launched, Request, What
from repro.harness.launch.sbatch import Sender
from repro.harness.plan import Plan
from repro.harness.state import Observation, StageState

LOG = logging.getLogger(__name__)
T = TypeVar("T")

TURN_SECONDS = 900.0  # how long to wait for somebody else's submission to end
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 60.0)  # between calls of a controller that is away


def submit(request: Request) -> Launched:
    """Submit what is missing, exactly once, and stay until it is done if the request says so.

    Raises:
        LaunchError: SLURM refused a batch (those before it stay), or was away for minutes, or somebody else's
            submission did not end.
        ClusterError: the cluster file asks for something that cannot be submitted.
    """
    launched = Launched()
    snapshot = request.code.path  # before anybody has to wait for us
    with _turn(request.cluster.output_root) as turn:
        seen = observe(request.cluster, set(request.plan.stages), patient=True)
        states = state.survey(request.plan, request.cluster.output_root, request.records, seen)
        retry = any(request.states[signature].state == "failed" for signature in request.todo)
        launched.todo = state.to_run(request.plan, states, retry=retry)
        launched.blocked = state.blocked_by(request.plan, states, launched.todo)
        launched.jobs = {signature: entry.job for signature, entry in seen.queue.items() if entry.live}
        _put_off(request.plan, states, launched)
        if launched.todo:
            _submit_all(request, launched, snapshot, turn)
    if request.wait:
        _watch(request, launched, {*launched.todo, *(s for s, one in states.items() if one.live)})
    return launched


def observe(cluster: Cluster, signatures: set[str], *, patient: bool = False) -> Observation:
    """Return what the queue and our own bookkeeping say of these stages.

    Raises:
        QueueAwayError: the controller does not answer; when ``patient``, it did not for some minutes.
    """
    root = cluster.output_root
    rows = _patiently(lambda: queue.read(batches.users(root))) if patient else queue.read(batches.users(root))
    elements = {name: batches.elements(root, name) for name in {row.batch for row in rows}}
    found = queue.by_signature(rows, elements)
    known = {signature: entry for signature, entry in found.items() if signature in signatures}
    return Observation(queue=known, submissions=_Submissions(root, signatures))


def cancel(cluster: Cluster, signatures: list[str]) -> None:
    """End the live jobs of these stages. Each stage carries its mark already, or its job would ignore the signal.

    Raises:
        QueueAwayError: the controller does not answer.
    """
    root = cluster.output_root
    seen = observe(cluster, set(signatures)).queue.values()
    live = [entry for entry in seen if isinstance(entry, Entry) and entry.live]
    shared = {entry.batch for entry in live if batches.helpers(root, entry.batch)}  # all its elements do one stage
    queue.cancel(entry.job.partition("_")[0] if entry.batch in shared else entry.job for entry in live)


def logs(cluster: Cluster, signature: str) -> list[Path]:
    """Return what a stage's jobs printed, oldest submission first; restarts of a job append to its files."""
    found = []
    for submitted in batches.submissions(cluster.output_root, signature):
        if submitted.job:
            found += queue.log_files(cluster.output_root / batches.BATCHES / submitted.batch, submitted.job)
    return found


class _Submissions(Mapping[str, state.Submission]):
    """The newest submission of each stage, read when it is asked for: most stages are done and nobody asks."""

    def __init__(self, root: Path, signatures: set[str]) -> None:
        self._root = root
        self._signatures = signatures

    def __getitem__(self, signature: str) -> state.Submission:
        submitted = batches.submissions(self._root, signature)
        if signature not in self._signatures or not submitted:
            raise KeyError(signature)
        newest = submitted[-1]
        if newest.job is None:
            # No id was noted, and no job noted it when it started: the submitter died before ``sbatch``.
            raise KeyError(signature)
        folder = self._root / batches.BATCHES / newest.batch
        return state.Submission(newest.job, newest.time, batches.error(folder, newest.job))

    def __iter__(self) -> Iterator[str]:
        return (signature for signature in self._signatures if self.get(signature))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@contextlib.contextmanager
def _turn(root: Path) -> Iterator[Claim]:
    """Submit alone: one submitter at a time for an ``output_root``, on whichever machine.

    Raises:
        LaunchError: somebody else did not end within ``TURN_SECONDS``.
    """
    end, told = time.monotonic() + TURN_SECONDS, False
    while True:
        try:
            turn = Claim.acquire(root / batches.BATCHES / "turns")
            break
        except HeldError as error:
            if time.monotonic() > end:
                raise LaunchError(f"another submission has not ended: {error}") from error
            if not told:
                LOG.info("another submission is %s; waiting for its end", error)
            told = True
            time.sleep(0.2)
    try:
        yield turn
    finally:
        turn.release("finished")


def _patiently(ask: Callable[[], T]) -> T:
    """Return ``ask()``, asking again for some minutes while the controller is away."""
    for pause in PAUSES:
        try:
            return ask()
        except QueueAwayError as error:
            _wait_for_controller(error, pause)
    return ask()


def _wait_for_controller(error: QueueAwayError, pause: float) -> None:
    LOG.warning("%s; trying again in %g s", error, pause)
    time.sleep(pause)


def _put_off(plan: Plan, states: Mapping[str, StageState], launched: Launched) -> None:
    """Leave out what stands behind a stage that is under way outside the queue: SLURM cannot wait for that one."""
    later: dict[str, str] = {s: one.reason for s, one in states.items() if one.live and s not in launched.jobs}
    for signature in list(launched.todo):
        for parent in plan.stages[signature].parents.values():
            if parent in later:
                later[signature] = later[parent]
                label = plan.stages[parent].label
                launched.blocked[signature] = f"{label} ({later[parent]}) is not a job; run again when it has ended"
                del launched.todo[signature]
                break


def _submit_all(request: Request, launched: Launched, snapshot: Path, turn: Claim) -> None:
    """Submit level by level, so that children can name their parents' jobs; note each job in ``launched``."""
    limit = _patiently(queue.max_array_size)
    stages = request.plan.stages
    parents = {signature: tuple(stages[signature].parents.values()) for signature in launched.todo}
    for level in grouping.levels(list(launched.todo), parents):
        kinds: dict[str, list[str]] = defaultdict(list)
        for signature in level:
            kinds[stages[signature].kind].append(signature)
        for kind, members in kinds.items():
            share = request.cluster.resources(kind).array
            if share > limit:
                raise ClusterError(f"stages.{kind}.array is {share}; SLURM takes arrays of up to {limit} jobs here")
            for group in grouping.groups(members, parents, launched.jobs, limit if share == 1 else 1):
                made, job = _send(request, group, kind, snapshot, turn)
                for index, signature in group.elements.items():
                    launched.jobs[signature] = batches.element_job(job, index, made.size)
                    request.tell("submitted", signature, launched.jobs[signature])


def _send(request: Request, group: grouping.Group, kind: str, snapshot: Path, turn: Claim) -> tuple[Batch, str]:
    """Submit one group, once; return its batch and its job id.

    While the controller is away we wait, and look before we call again: it may have heard us.
    """
    root = request.cluster.output_root
    helpers = request.cluster.resources(kind).array - 1
    made = Batch(batches.new_name(), root, group.elements, group.after, request.entry, snapshot, helpers)
    sender = Sender(made, kind, request.cluster)
    batches.write(made, {signature: request.work(signature) for signature in group.elements.values()})
    sender.write_pickle()
    for signature in group.elements.values():
        payload.clear_cancelled(root / signature)
    for pause in (*PAUSES, None):
        _require(turn, root)
        try:
            job = sender.send()
            break
        except QueueAwayError as error:
            if pause is None:
                raise
            _wait_for_controller(error, pause)
        except LaunchError:
            batches.withdraw(made)
            raise
        if found := _patiently(lambda: [row for row in queue.read() if row.batch == made.name]):
            job = found[0].job.partition("_")[0]
            break
    batches.note_job(root, made.name, job)
    return made, job


def _require(turn: Claim, root: Path) -> None:
    newest = claim.last(root / batches.BATCHES / "turns")
    if newest is None or newest.number != turn.attempt.number:
        raise LaunchError("this submission was taken for dead and another one went on; nothing more is submitted")


def _watch(request: Request, launched: Launched, watched: set[str]) -> None:
    """Stay until none of ``watched`` runs or waits any more; tell of every change, and sweep."""
    before: dict[str, StageState] = {}
    try:
        while True:
            seen = observe(request.cluster, set(request.plan.stages), patient=True)
            states = state.survey(request.plan, request.cluster.output_root, request.records, seen)
            sweep(seen)
            for signature in request.plan.stages:
                if signature in watched:
                    _tell(request, launched, signature, before.get(signature), states[signature])
            before = states
            if not any(states[signature].live for signature in watched):
                return
            time.sleep(request.cluster.poll_seconds)
    except KeyboardInterrupt:
        launched.interrupted = True  # the jobs go on; the next look finds them


def _tell(request: Request, launched: Launched, signature: str, old: StageState | None, new: StageState) -> None:
    if new.state == "running" and new.progress != (old and old.progress):
        request.tell("progress", signature, progress=new.progress)
    if old and old.state == new.state:
        return
    told: dict[str, What] = {"running": "started", "failed": "failed", "blocked": "blocked"}
    told |= {"recorded": "finished", "available": "finished", "vanished": "failed", "to run": "stopped"}
    if new.state in told:
        request.tell(told[new.state], signature, new.reason)
    if new.done:
        launched.finished.append(signature)
    elif new.state in ("failed", "vanished"):
        launched.failed[signature] = new.reason
    elif new.state == "blocked":
        launched.blocked[signature] = new.reason
    elif new.state == "to run":
        launched.interrupted = True


def sweep(seen: Observation) -> None:
    """End what would be pending for ever: cancel jobs whose parent cannot succeed any more, release held ones.

    SLURM cancels the former itself when asked (``kill-on-invalid-dep``), but has been seen not to. It holds a job
    whose node failed to start it, and takes that node out of service.
    """
    ours = [entry for entry in seen.queue.values() if isinstance(entry, Entry)]
    queue.cancel(entry.job for entry in ours if entry.doomed)
    for entry in ours:
        if entry.held:
            queue.release(entry.job)
