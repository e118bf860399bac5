"""One stage of a plan, from start to record: the function that every executor calls.

A stage's kind picks a function. Each takes the work and a device and returns an `Outcome`; everything around it is the
same for all kinds: the data sets are those the plan was made with, the parents are there, the log, the record. A stage
that is killed and run again goes on from its last checkpoint by itself.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import torch
from detectron2.utils import comm

from repro.data import datasets
from repro.engine import (
    build_model,
    checkpoint,
    detector,
    distributed,
    encoder,
    evaluate,
    inputs,
    label,
    parents,
    propose,
)
from repro.engine.outcome import Outcome
from repro.errors import StageError, did_you_mean
from repro.harness import record
from repro.harness.work import Work
from repro.ops import ms_deform_attn

Run = Callable[[Work, dict[str, parents.Parent], torch.device], Outcome]

KINDS: dict[str, Run] = {
    "encoder": encoder.run,
    "propose": propose.run,
    "build": build_model.run,
    "pretrain": detector.run,
    "train": detector.run,
    "label": label.run,
    "finetune": detector.run,
    "evaluate": evaluate.run,
}


def run(work: Work) -> None:
    """Run a stage: write its outputs into its folder, then its record, unless this job only helps another one.

    Raises:
        StageError: it cannot start, since a parent is not there, or cannot go on.
        DataError: a data set is not the one that the plan was made with.
    """
    started = datetime.now(UTC)
    kind = work.stage.kind
    if kind not in KINDS:
        raise StageError(f"There is no kind of stage {kind!r}. {did_you_mean(kind, KINDS)}")
    device = distributed.choose_device(work.device)
    work.output.mkdir(parents=True, exist_ok=True)
    distributed.join(device)
    with _logging(work), _threads(work):
        for name, planned in work.stage.datasets.items():
            datasets.verify(name, planned, work.datasets_root)
        found = parents.of(work)
        if comm.is_main_process() and not work.helps:
            _write_stage(work)
        ms_deform_attn.ran.clear()
        outcome = KINDS[kind](work, found, device)
        if comm.is_main_process() and not work.helps:
            _record(work, outcome, started, device)
            checkpoint.clean(work.output)  # only now: until the record is there, a kill must find a way back


def _write_stage(work: Work) -> None:
    """Say what this folder is, unless the payload that started us has done so."""
    if (work.output / "stage.json").exists():
        return
    temporary = work.output / f".stage.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(dataclasses.asdict(work.stage), indent=1))
    temporary.replace(work.output / "stage.json")


def _record(work: Work, outcome: Outcome, started: datetime, device: torch.device) -> None:
    now = datetime.now(UTC)
    final = outcome.checkpoint
    artifacts = outcome.artifacts | inputs.written(work.output)
    finished = record.of(
        work,
        metrics=outcome.metrics,
        started=started,
        seconds=outcome.seconds or (now - started).total_seconds(),
        iterations=outcome.iterations,
        checkpoint=None if final is None else record.describe(final, work.output),
        artifacts={name: record.describe(path, work.output) for name, path in artifacts.items()},
        implementation=outcome.implementation | _operators(),
        origin=outcome.origin,
        hardware=_hardware(device, work.share[1]) | outcome.hardware,
    )
    path = record.write(finished, work.records)
    logging.getLogger(__name__).info("Recorded %s", path)


def _operators() -> dict[str, str]:
    """Which implementation of the operators served this stage; nothing of those that it did not call."""
    return {"ms_deform_attn": "+".join(sorted(ms_deform_attn.ran))} if ms_deform_attn.ran else {}


def _hardware(device: torch.device, jobs: int) -> dict[str, object]:
    processes = jobs * comm.get_world_size()
    if device.type != "cuda":
        return {"gpus": 0, "processes": processes}
    return {
        "gpu": torch.cuda.get_device_name(device),
        "gpus": processes,
        "processes": processes,
        "cuda": torch.version.cuda,
    }


@contextmanager
def _logging(work: Work) -> Iterator[None]:
    """Log to the stage's folder: the first process to ``log.txt``, the others each to a file of its own."""
    job, rank = work.share[0], comm.get_rank()
    whose = (f".job{job}" if job else "") + (f".rank{rank}" if rank else "")
    handler = logging.FileHandler(work.output / f"log{whose}.txt")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("repro", "detectron2", "fvcore")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()


@contextmanager
def _threads(work: Work) -> Iterator[None]:
    """Use as many threads as the recipe says (another number rounds differently), and put the old number back."""
    threads = work.stage.recipe["run"]["threads"]
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
