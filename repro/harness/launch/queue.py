"""What SLURM's queue knows about our stages: one ``squeue`` call, no accounting, no unknown-id errors.

Every job carries ``repro:<batch>`` as its comment, and the batch file says which stage each array element runs, so a
stage's job is found from any login node, whoever submitted it, even when the submitter died before it could note the
job's id. Jobs that ended stay visible for the site's MinJobAge (five minutes by default); after that only records and
failure files tell. A *pending* element that is cancelled vanishes at once.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from repro.errors import LaunchError

WAITING = frozenset(("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"))
# PREEMPTED is neither: where PreemptMode is REQUEUE the job shows as PENDING at once, elsewhere it has ended.
WORKING = frozenset(
    ("CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT")
)
NEVER = "DependencyNeverSatisfied"
HELD = "launch failed requeued held"
FORMAT = "%i|%T|%r|%k|%j"
BATCH = re.compile(r"repro\S*?(?P<batch>\d{8}-\d{6}-[0-9a-f]{6})\b")
COMMAND_SECONDS = 60


class QueueAwayError(LaunchError):
    """The controller does not answer. Nothing may be submitted until it does: what is queued is not known."""


@dataclass(frozen=True)
class Entry:
    """One job or array element.

    Attributes:
        job: ``12``, or ``12_3`` for an element of an array.
        state: SLURM's word, e.g. ``PENDING``, ``RUNNING``, ``FAILED``, ``OUT_OF_MEMORY``.
        reason: Why it waits or how it ended, e.g. ``Dependency``, ``NonZeroExitCode``.
        batch: Our name for the submission that it belongs to.
    """

    job: str
    state: str
    reason: str
    batch: str

    @property
    def live(self) -> bool:
        """Will this job still do something, or is it doing it?"""
        return self.state in WAITING or self.state in WORKING

    @property
    def doomed(self) -> bool:
        """Does this job wait for a parent that can no longer succeed?"""
        return self.state == "PENDING" and self.reason == NEVER

    @property
    def held(self) -> bool:
        """Was it put on hold, for ever, because a node failed to start it?"""
        return self.state == "PENDING" and self.reason.replace("_", " ") == HELD

    @property
    def running(self) -> bool:
        """Does it hold a machine?"""
        return self.state in WORKING

    @property
    def index(self) -> int:
        """Place in its array; 0 for a plain job."""
        return int(self.job.partition("_")[2] or 0)


def parse(text: str) -> list[Entry]:
    """Read what ``squeue -h -r -o FORMAT`` printed; rows that are not ours are left out.

    >>> parse("7_1|PENDING|Dependency|repro:20260801-120000-00ff00|finetune\\n8|RUNNING|None|(null)|other")
    [Entry(job='7_1', state='PENDING', reason='Dependency', batch='20260801-120000-00ff00')]
    """
    entries = []
    for line in text.splitlines():
        job, state, reason, tail = (*line.split("|", 3), "", "", "")[:4]
        match = BATCH.search(tail)
        if match and re.fullmatch(r"\d+(_\d+)?", job):
            entries.append(Entry(job, state.split(" ")[0], reason, match["batch"]))
    return entries


def read(users: Iterable[str] = ()) -> list[Entry]:
    """Return our jobs that the controller knows, ended ones included.

    Args:
        users: Whose jobs to ask for, beside one's own; a whole site's queue can be long.

    Raises:
        QueueAwayError: the controller does not answer.
    """
    return parse(_squeue("-o", FORMAT, "-u", ",".join(sorted({*users, str(os.getuid())}))))


def _squeue(*arguments: str) -> str:
    return command("squeue", "-h", "-a", "-r", "-t", "all", *arguments)


def command(*arguments: str) -> str:
    """Run one of SLURM's commands and return what it printed.

    Raises:
        QueueAwayError: it failed or did not answer within a minute.
        LaunchError: it is not installed here.
    """
    # Variables such as SQUEUE_FORMAT or SQUEUE_STATES of somebody's shell would change what is asked.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SQUEUE_", "SCANCEL_", "SINFO_"))}
    try:
        done = subprocess.run(
            arguments, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise LaunchError(
            f"{arguments[0]} is not on PATH. Run on a login node, or start a SLURM of your own: "
            'slurm/devcluster up && eval "$(slurm/devcluster env)"'
        ) from error
    except subprocess.TimeoutExpired as error:
        raise QueueAwayError(f"{arguments[0]}: no answer from SLURM within {COMMAND_SECONDS} s") from error
    if done.returncode:
        raise QueueAwayError(f"{arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def by_signature(entries: Iterable[Entry], elements: Mapping[str, Mapping[int, str]]) -> dict[str, Entry]:
    """Return each stage's most telling job: a live one if there is any, else the newest.

    Args:
        entries: Rows of the queue.
        elements: Batch to array index to signature.
    """
    found: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (entry.live, int(entry.job.partition("_")[0]))):
        signature = elements.get(entry.batch, {}).get(entry.index)
        if signature is not None:
            found[signature] = entry
    return found


def max_array_size() -> int:
    """Return how many elements one array may have here (``MaxArraySize`` counts the index 0).

    Raises:
        QueueAwayError: the controller does not answer.
    """
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", command("scontrol", "show", "config"), re.MULTILINE)
    return int(match[1]) if match else 1001


def cancel(jobs: Iterable[str]) -> None:
    """``scancel`` these jobs and array elements; those that have already ended are no fault."""
    wanted = sorted(jobs)
    for first in range(0, len(wanted), 100):
        try:
            command("scancel", *wanted[first : first + 100])
        except QueueAwayError as error:
            if "Invalid job id" not in str(error) and "already completing" not in str(error):
                raise


def release(job: str) -> None:
    """Let a held job start again; where only operators may do so, end it, so that it can be submitted anew."""
    try:
        command("scontrol", "release", job)
    except QueueAwayError:
        cancel([job])


def log_files(folder: Path, job: str) -> list[Path]:
    """Return what submitit's job ``job`` printed, outputs before errors, task by task."""
    files = [*folder.glob(f"{job}_*_log.out"), *folder.glob(f"{job}_*_log.err")]
    return sorted(files, key=lambda path: (path.suffix == ".err", path.name))
