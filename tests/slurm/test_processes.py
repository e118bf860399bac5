"""Jobs of several processes on a real SLURM: they find each other, and none outlives another's failure."""


def test_two_and_four_processes_reduce_together_and_a_failing_rank_ends_the_job(make_lab):
    stages = {
        "train": {"tasks_per_node": 2},
        "pretrain": {"nodes": 2, "tasks_per_node": 2},
        "finetune": {"tasks_per_node": 2},
    }
    lab = make_lab(stages=stages)
    two = lab.stage("two on a node", "train", all_reduce=True)
    four = lab.stage("two on each of two nodes", "pretrain", all_reduce=True)
    failing = lab.stage("second rank fails", "finetune", steps=2000, pause=0.5, rank_fails=1)
    launched = lab.launch(wait=True)
    assert set(launched.finished) == {two, four}
    assert lab.metrics(two) == [{"sum": 3.0, "world": 2.0}]
    assert lab.metrics(four) == [{"sum": 10.0, "world": 4.0}]
    assert "rank 1 fails" in launched.failed[failing]
