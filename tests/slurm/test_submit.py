"""Through a real SLURM: arrays, order, failures, and submitting exactly once whoever dies or calls twice."""

import multiprocessing
import os
import signal
import sys
import threading

import pytest
from submitit.core import utils

from repro.errors import LaunchError
from repro.harness.launch import batch
from repro.harness.launch import slurm as launcher
from repro.harness.launch.sbatch import Sender

FORK = multiprocessing.get_context("fork")


def test_table_shaped_plan_runs_in_arrays_and_only_what_failed_is_retried(lab):
    mended = lab.folder / "mended"
    encoder = lab.stage("encoder", "encoder")
    tunes = [lab.stage(f"tune{i}", "finetune", (encoder,)) for i in range(2)]
    bad = lab.stage("bad", "finetune", (encoder,), fail_at=1, unless=str(mended))
    evaluations = [lab.stage(f"evaluate{i}", "evaluate", (tune,)) for i, tune in enumerate((*tunes, bad))]
    launched = lab.launch(wait=True)

    assert set(launched.jobs) == set(lab.stages)
    assert len({job.partition("_")[0] for job in launched.jobs.values()}) == 3  # one sbatch call a level
    assert [launched.jobs[e].partition("_")[2] for e in evaluations] == ["0", "1", "2"]
    assert set(launched.finished) == {encoder, *tunes, *evaluations[:2]}
    assert "the loss is not finite" in launched.failed[bad]
    assert "bad" in launched.blocked[evaluations[2]]
    states = lab.status()
    names = [states[signature].state for signature in (encoder, bad, evaluations[0], evaluations[2])]
    assert names == ["available", "failed", "available", "blocked"]
    assert lab.lines(evaluations[2], "starts") == []
    assert any("the loss is not finite" in path.read_text() for path in launcher.logs(lab.cluster, bad))

    before = len(lab.jobs())
    again = lab.launch(wait=True)  # neither what is done nor what failed
    assert (again.todo, len(lab.jobs())) == ({}, before)
    assert bad in again.failed

    mended.touch()
    retried = lab.launch(wait=True, retry=True)
    assert list(retried.todo) == [bad, evaluations[2]]
    assert set(retried.finished) == {bad, evaluations[2]}
    assert all(len(lab.lines(s, "starts")) == 1 for s in (encoder, *tunes, *evaluations))


def test_jobs_run_the_code_as_it_was_submitted(lab, slurm):
    module = lab.project / "fake_engine.py"
    text = module.read_text()
    stage = lab.stage("train")
    slurm("scontrol", "update", "partitionname=debug", "state=down")
    try:
        lab.launch()
        module.write_text(text.replace("as submitted", "as edited while the job waited"))
    finally:
        slurm("scontrol", "update", "partitionname=debug", "state=up")
    try:
        lab.launch(wait=True)
    finally:
        module.write_text(text)
    assert "as submitted" in (lab.records / f"{stage}.json").read_text()


def launch_and_die(lab, moment):
    def die(*arguments, **options):
        os.kill(os.getpid(), signal.SIGKILL)

    place = {
        "before sbatch": (Sender, "send"),
        "before submitit's bookkeeping": (utils.JobPaths, "move_temporary_file"),
        "before our bookkeeping": (batch, "note_job"),
    }
    setattr(*place[moment], die)
    lab.launch()


@pytest.mark.parametrize("moment", ["before sbatch", "before submitit's bookkeeping", "before our bookkeeping"])
def test_killed_submitter_neither_loses_nor_repeats_a_stage(lab, moment):
    trains = [lab.stage(f"train{i}", steps=2, pause=0.5) for i in range(2)]
    evaluations = [lab.stage(f"evaluate{i}", "evaluate", (train,)) for i, train in enumerate(trains)]
    process = FORK.Process(target=launch_and_die, args=(lab, moment))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len({entry.batch for entry in lab.jobs()}) == (0 if moment == "before sbatch" else 1)

    launched = lab.launch(wait=True)
    assert set(launched.finished) == {*trains, *evaluations}
    assert [len(lab.lines(stage, "starts")) for stage in (*trains, *evaluations)] == [1, 1, 1, 1]
    assert len({entry.batch for entry in lab.jobs()}) == 2


def launch_and_compare(lab, expected):
    known = set(lab.launch().jobs)
    known |= {stage for stage in expected if lab.metrics(stage)}  # done before this one had its turn
    if known != expected:
        print(f"knew {sorted(known)} of {sorted(expected)}: {lab.status()}", file=sys.stderr, flush=True)
    os._exit(0 if known == expected else 1)


def test_several_people_submit_at_once(lab):
    # Long enough to be in the queue still when the last of three, on a busy machine, has its turn.
    stages = [lab.stage(f"train{i}", steps=3, pause=1.5) for i in range(3)]
    people = [FORK.Process(target=launch_and_compare, args=(lab, set(stages))) for _ in range(3)]
    for process in people:
        process.start()
    for process in people:
        process.join()
    assert [process.exitcode for process in people] == [0, 0, 0]  # each knows the jobs, whoever submitted them
    lab.launch(wait=True)
    assert len(lab.jobs()) == 3
    assert [len(lab.lines(stage, "starts")) for stage in stages] == [1, 1, 1]


def test_controller_that_is_away_is_waited_for(lab, slurm, monkeypatch):
    stages = [lab.stage(f"train{i}") for i in range(2)]
    send, calls = Sender.send, []

    def away_at_first(sender):
        calls.append(sender)
        if len(calls) == 1:
            file = slurm.folder / "slurmctld.pid"
            os.kill(int(file.read_text()), signal.SIGTERM)
            slurm.until(lambda: not file.exists(), "the controller's end")
            threading.Timer(12.0, slurm.devcluster, ("up",)).start()  # sbatch itself tries for nine seconds
        return send(sender)

    monkeypatch.setattr(Sender, "send", away_at_first)
    monkeypatch.setattr(launcher, "PAUSES", (0.5,) * 40)
    launched = lab.launch(wait=True)
    assert len(calls) == 2
    assert set(launched.finished) == set(stages)
    assert [len(lab.lines(stage, "starts")) for stage in stages] == [1, 1]


def test_refusal_names_the_reason_and_leaves_nothing_behind(make_lab):
    lab = make_lab(defaults={"slurm_partition": "no-such"})
    stage = lab.stage("train")
    with pytest.raises(LaunchError, match=r"SLURM refused .*invalid partition"):
        lab.launch()
    assert lab.status()[stage].state == "to run"
    assert list((lab.cluster.output_root / "batches").glob("2*")) == []
