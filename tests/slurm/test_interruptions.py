"""Jobs stopped, moved, killed or cancelled in the middle, on a real SLURM: each goes on, or says how it ended."""

import pytest

from repro.harness import launch as launching
from repro.harness import state

BUSY = {"steps": 20, "pause": 0.2, "until_restart": True}


class Disturbed:
    """One launch in which every stage meets a misfortune of its own; they run side by side to save time."""

    def __init__(self, lab, slurm):
        self.lab = lab
        self.timed_out = lab.stage("timed out", "finetune", **BUSY)
        self.requeued = lab.stage("requeued", **BUSY)
        self.signalled = lab.stage("signalled", fork=True, **BUSY)
        self.killed = lab.stage("killed", kill_at=1, **BUSY)
        self.orphan = lab.stage("after the killed", "evaluate", (self.killed,))
        self.preempted = lab.stage("preempted", "pretrain", **BUSY)
        self.jobs = lab.launch().jobs
        for stage in (self.requeued, self.signalled, self.preempted):
            slurm.until(lambda stage=stage: len(lab.lines(stage, "steps")) > 3, "the stage to be in its middle")
        slurm.until(lambda: not lab.status()[self.killed].live, "the end of the killed job")
        # Eight CPUs, four of them busy: five are only there when the low partition gives up one.
        slurm("sbatch", "--partition=high", "--output=/dev/null", "--ntasks=5", "--wrap=sleep 2")
        slurm.until(lambda: lab.status()[self.preempted].state == "pending", "the preemption")
        slurm("scontrol", "requeue", self.jobs[self.requeued])
        slurm("scancel", "--signal=USR2", self.jobs[self.signalled])
        self.launched = lab.launch(wait=True)


@pytest.fixture(scope="module")
def disturbed(make_lab, slurm):
    stages = {
        # SLURM looks twice a minute and warns early: between 10 and 40 s here, never while Python still starts.
        "finetune": {"timeout_min": 1, "slurm_signal_delay_s": 20},
        "pretrain": {"slurm_partition": "low"},
    }
    return Disturbed(make_lab(stages=stages), slurm)


@pytest.mark.parametrize("misfortune", ["timed_out", "requeued", "signalled", "preempted"])
def test_stage_goes_on_from_its_checkpoint(disturbed, misfortune):
    lab, signature = disturbed.lab, getattr(disturbed, misfortune)
    went_on(lab, signature)
    job = disturbed.jobs[signature]
    restarts = [line.split()[1] for line in lab.lines(signature, "starts")]
    assert restarts == [str(n) for n in range(len(restarts))]
    assert lab.status()[signature].attempt == len(restarts)
    assert [entry.state for entry in lab.jobs() if entry.job == job] == ["COMPLETED"]  # the same job, not a new one


def went_on(lab, signature):
    steps = [int(step) for step in lab.lines(signature, "steps")]
    assert steps == sorted(set(steps))  # none was done twice
    assert len(lab.lines(signature, "starts")) > 1
    assert lab.metrics(signature) == [{"steps": float(steps[-1])}]


def test_forked_workers_do_not_hand_the_job_back_again(disturbed):
    assert len(disturbed.lab.lines(disturbed.signalled, "starts")) == 2
    logs = launching.logs(disturbed.lab.plan, disturbed.signalled, disturbed.lab.cluster)
    assert "".join(path.read_text() for path in logs).count("Calling checkpoint method") == 1


def test_killed_payload_is_a_failure_and_its_child_is_blocked(disturbed):
    lab, launched = disturbed.lab, disturbed.launched
    states = lab.status()
    assert states[disturbed.killed].state == "failed"
    assert states[disturbed.orphan].state == "blocked"
    assert "after" not in states[disturbed.orphan].reason
    assert "killed" in states[disturbed.orphan].reason
    assert lab.lines(disturbed.orphan, "starts") == []
    assert disturbed.killed in launched.failed


def test_lost_node(lab, slurm):
    stage = lab.stage("train", **BUSY)
    job = lab.launch().jobs[stage]
    slurm.until(lambda: len(lab.lines(stage, "steps")) > 3, "the stage to be in its middle")
    slurm.lose_node_of(job)
    launched = lab.launch(wait=True)
    slurm.devcluster("up")  # brings the node back
    assert launched.finished == [stage]
    went_on(lab, stage)


def test_cancelled_stages_end_at_once_and_go_on_when_run_again(lab, slurm):
    running = [lab.stage(f"train{i}", steps=20, pause=0.2) for i in range(2)]
    waiting = lab.stage("evaluate", "evaluate", tuple(running))
    lab.launch()
    for stage in running:
        slurm.until(lambda stage=stage: len(lab.lines(stage, "steps")) > 3, "the stage to be in its middle")
    assert set(launching.cancel(lab.plan, lab.cluster)) == {*running, waiting}
    slurm.until(lambda: not any(one.live for one in lab.status().values()), "the jobs' end")
    assert {entry.state for entry in lab.jobs()} == {"CANCELLED"}
    states = lab.status()
    assert {(states[s].state, states[s].reason) for s in (*running, waiting)} == {("to run", "cancelled")}

    launched = lab.launch(wait=True)
    assert set(launched.finished) == {*running, waiting}
    for stage in running:
        went_on(lab, stage)


def test_job_that_was_removed_while_it_waited_is_vanished_and_run_again(lab, slurm, monkeypatch):
    stages = [lab.stage(f"train{i}") for i in range(3)]
    slurm("scontrol", "update", "partitionname=debug", "state=down")
    try:
        jobs = lab.launch().jobs
        slurm("scancel", jobs[stages[1]])
        assert lab.status()[stages[1]].state == "pending"  # for a while: its files might be on their way
        monkeypatch.setitem(state.survey.__kwdefaults__, "grace", 0.0)
        assert [lab.status()[stage].state for stage in stages] == ["pending", "vanished", "pending"]
    finally:
        slurm("scontrol", "update", "partitionname=debug", "state=up")
    launched = lab.launch(wait=True)
    assert list(launched.todo) == [stages[1]]
    assert set(launched.finished) == set(stages)
    assert [len(lab.lines(stage, "starts")) for stage in stages] == [1, 1, 1]
