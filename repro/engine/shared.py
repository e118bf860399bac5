"""A stage whose images are shared among all processes of all its jobs, on one node or on many.

They meet in the stage's folder only, so that none waits at a barrier for hours, and a job may start late, end early or
be killed; see `repro.data.shards`. The first process puts everything together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.utils import comm

from repro.data import shards
from repro.engine import hooks
from repro.harness.work import Work


def run(
    work: Work,
    records: Sequence[Mapping[str, Any]],
    file: Path,
    finder: shards.Finder,
    fingerprint: str,
    number: int | None,
    workers: int = 1,
) -> None:
    """Do this process's share of the images; return when the file is there, or at once in a job that only helps.

    Args:
        work: the stage.
        records: the images.
        file: what comes out.
        finder: what is done with them.
        fingerprint: of their data set.
        number: of shards, None for shards of the default size.
        workers: of this process.
    """
    job, jobs = work.share
    world = comm.get_world_size()
    sharing = shards.Sharing(number, workers, (job * world + comm.get_rank(), jobs * world))
    progress = hooks.ProgressFile(work.output, work.stage.kind)
    shards.run(records, file, finder, sharing, fingerprint=fingerprint, on_progress=progress.update)
    while not (work.helps or file.is_file()):  # a task that ends early would have some queues end the others
        time.sleep(1.0)
