"""Run a plan in this process, one stage after another, with the code as it lies there: for debuggers and for tests.

Records and failure files are those of every other executor.
"""

from __future__ import annotations

import time

from repro.harness import state
from repro.harness.claim import HeldError
from repro.harness.cluster import Cluster
from repro.harness.launch.payload import clear_cancelled, execute
from repro.harness.launch.request import Launched, Request
from repro.harness.launch.snapshot import about
from repro.harness.work import Work

LOOK_SECONDS = 0.5


def submit(request: Request) -> Launched:
    """Run what ``request`` asks for, in the plan's order, and return when all is done or failed.

    Raises:
        KeyboardInterrupt: pressed by the user; the stage goes on from its last checkpoint next time.
    """
    launched = Launched(todo=dict(request.todo))
    code = about(request.project)
    for signature, stage in request.plan.stages.items():
        if signature not in request.todo and signature not in request.waiting:
            continue
        ended = launched.failed | launched.blocked
        failed = [parent for parent in stage.parents.values() if parent in ended]
        if failed:
            launched.blocked[signature] = f"{request.plan.stages[failed[0]].label}: {ended[failed[0]]}"
            request.tell("blocked", signature, launched.blocked[signature])
            continue
        _run(request, signature, request.work(signature, code), launched)
    return launched


def cancel(cluster: Cluster, signatures: list[str]) -> None:
    """End these stages if processes of this machine run them, as ``local`` does."""
    from repro.harness.launch import local

    local.cancel(cluster, signatures)


def _run(request: Request, signature: str, work: Work, launched: Launched) -> None:
    clear_cancelled(work.output)
    request.tell("started", signature, request.todo.get(signature, ""))
    try:
        while True:
            try:
                execute(work, request.entry, on_terminate="leave")
                break
            except HeldError as error:
                request.tell("elsewhere", signature, str(error))
                while state.look(work.stage, work.output_root, work.records).live:
                    time.sleep(LOOK_SECONDS)
    except RuntimeError as error:
        launched.failed[signature] = str(error)
        request.tell("failed", signature, str(error))
    else:
        launched.finished.append(signature)
        request.tell("finished", signature)
