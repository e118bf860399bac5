"""What submitit is asked for, and how ``sbatch`` is called. Each addition here cures an observed fault.

The job's script is submitit's with lines of ours before ``srun`` (``_script``); ``tests/harness/launch`` holds a golden
copy of one. What must be true of the process itself (forked workers deaf to the queue's signals, SIGTERM understood,
every ending written down) is ``payload``'s business.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import re
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from repro.errors import ClusterError, LaunchError
from repro.harness.launch import grouping
from repro.harness.launch.batch import Batch, Element
from repro.harness.launch.queue import QueueAwayError

if TYPE_CHECKING:
    from repro.harness.cluster import Cluster, Resources

AWAY = re.compile(
    r"unable to contact slurm controller|socket timed out|connection (refused|timed out|reset)|temporarily unable"
    r"|transport endpoint|zero bytes were transmitted|communication connection|standby mode|controller not responding",
    re.IGNORECASE,
)
OWN_SLURM = 'Run on a login node, or start a SLURM of your own: slurm/devcluster up && eval "$(slurm/devcluster env)"'


class Sender:
    """Everything about one batch that can fail is done on construction, before anything is written down."""

    def __init__(self, made: Batch, kind: str, cluster: Cluster) -> None:
        """Prepare a batch.

        Raises:
            LaunchError: SLURM's commands are not here.
            ClusterError: the cluster file asks for something that submitit does not know.
        """
        import submitit

        if missing := [tool for tool in ("sbatch", "srun", "squeue", "scontrol") if shutil.which(tool) is None]:
            raise LaunchError(f"{', '.join(missing)} not on PATH. {OWN_SLURM}")
        self.batch = made
        self._executor: Any = submitit.AutoExecutor(
            folder=made.folder,
            cluster="slurm",
            slurm_max_num_timeout=cluster.max_timeouts,
            slurm_python=cluster.python or sys.executable,
        )
        try:
            self._executor.update_parameters(**parameters(made, kind, cluster))
        except (NameError, TypeError, ValueError) as error:
            raise ClusterError(f"{cluster.name}: {kind}: {error}") from error

    def write_pickle(self) -> None:
        """Write the pickle that a job takes when submitit did not live to put its own in place."""
        from submitit.core.utils import DelayedSubmission

        delayed = DelayedSubmission(Element(str(self.batch.file)))
        inner = self._executor._executor
        delayed.set_timeout(inner.parameters["time"], inner.max_num_timeout)
        delayed.dump(self.batch.folder / "element.pkl")

    def send(self) -> str:
        """Call ``sbatch`` once; return SLURM's job id.

        Raises:
            QueueAwayError: the controller did not answer. It may have accepted the job all the same.
            LaunchError: it refused.
        """
        from submitit.core.utils import FailedJobError

        elements = [Element(str(self.batch.file))] * self.batch.size
        try:
            # submitit prints sbatch's error beside raising it.
            with submitting_environment(), contextlib.redirect_stderr(io.StringIO()):
                submitted = self._executor.submit_array(elements)
        except FailedJobError as error:
            self._remove_pickles()
            if AWAY.search(str(error)):
                raise QueueAwayError(f"sbatch: {error}") from error
            raise LaunchError(f"SLURM refused {self.batch.name} (batches before it stay): {error}") from error
        return str(submitted[0].job_id).partition("_")[0]

    def script(self) -> str:
        """Return the text of the job's script, as ``send`` hands it to ``sbatch``."""
        inner = copy.copy(self._executor._executor)
        if self.batch.size > 1:
            inner.parameters = inner.parameters | {"map_count": self.batch.size}
        return str(inner._make_submission_file_text(inner._submitit_command_str, ""))

    def _remove_pickles(self) -> None:
        """Remove what a failed ``sbatch`` leaves: one pickle an element and the script, under random names."""
        for left in self.batch.folder.iterdir():
            if re.fullmatch(r"[0-9a-f]{32}\.pkl|\.submission_file_[0-9a-f]{32}\.sh", left.name):
                left.unlink()


def parameters(made: Batch, kind: str, cluster: Cluster) -> dict[str, Any]:
    """Return what submitit is asked for.

    Raises:
        ClusterError: the cluster file sets no time limit (submitit's default of five minutes would surprise).
    """
    resources = cluster.resources(kind)
    if resources.timeout_min is None:
        raise ClusterError(f"{cluster.name}: {kind} has no timeout_min. SLURM needs a time limit, in minutes.")
    own = dict(resources.slurm)
    srun, setup, more = (own.pop(key, None) for key in ("srun_args", "setup", "additional_parameters"))
    chosen = {
        "name": f"repro-{kind}-{made.name}",
        "timeout_min": resources.timeout_min,
        "nodes": resources.nodes,
        "tasks_per_node": resources.tasks_per_node,
        "cpus_per_task": resources.cpus_per_task,
        "mem_gb": resources.mem_gb,
        "slurm_comment": f"{own.pop('comment', '')} repro:{made.name}".strip(),
        "slurm_array_parallelism": cluster.max_array_parallelism,
        "slurm_dependency": made.after or None,
        "slurm_setup": [*_script(made), *cluster.setup, *(setup or ())],
        "slurm_srun_args": [
            "--kill-on-bad-exit=1",  # else one rank fails and the others wait for it for ever
            f"--cpus-per-task={resources.cpus_per_task}",  # SLURM 22.05 to 23.02: srun does not inherit it
            "--export=ALL",  # sites that default to NONE: submitit does not find its own variables
            *(srun or ()),
        ],
        "slurm_additional_parameters": {
            "kill-on-invalid-dep": "yes",  # else the child of a failed parent is pending for ever
            "requeue": True,  # sites with JobRequeue=0: a stage that timed out could not go on
            **_array(made, cluster),
            **(more or {}),
        },
        **_gpus(resources, cluster),
        **{f"slurm_{key}": value for key, value in own.items()},
    }
    return {key: value for key, value in chosen.items() if value is not None}


def _gpus(resources: Resources, cluster: Cluster) -> dict[str, Any]:
    if not resources.gpus_per_node:
        return {}
    if cluster.gpus_as == "gres":
        return {"slurm_gres": f"gpu:{resources.gpus_per_node}"}
    return {"gpus_per_node": resources.gpus_per_node}


def _array(made: Batch, cluster: Cluster) -> dict[str, str]:
    """Return the indices of an array that must correspond to its parents'; submitit's own are 0 to n-1."""
    if sorted(made.elements) == list(range(len(made.elements))):
        return {}
    return {"array": f"{grouping.indices(made.elements)}%{min(len(made.elements), cluster.max_array_parallelism)}"}


def _script(made: Batch) -> list[str]:
    """Return the lines that every job's script starts with: run the snapshot's code, and have a pickle to run.

    submitit moves the pickle to its place after ``sbatch`` has returned. A submitter that is killed between the two
    would leave a job that waits a minute for nothing, so the job helps itself; all elements run the same pickle.
    """
    element = "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
    return [
        f'cd "{made.snapshot}" || exit 1',
        f'export PYTHONPATH="{made.snapshot}${{PYTHONPATH:+:$PYTHONPATH}}"',
        f'pickle="{made.folder}/{element}_submitted.pkl"',
        f'[ -e "$pickle" ] || {{ cp "{made.folder}/element.pkl" "$pickle.tmp" && mv -n "$pickle.tmp" "$pickle"; }}',
    ]


@contextlib.contextmanager
def submitting_environment() -> Iterator[None]:
    """Hide what the shell or an outer job would add to the request (SBATCH_TIMELIMIT, SLURM_*), but not SLURM_CONF."""
    from submitit.helpers import clean_env

    kept = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    with clean_env():
        os.environ.update(kept)
        yield
