"""Submission to SLURM with pretended commands: what is asked for, and what is made of each answer."""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from repro.errors import ClusterError, LaunchError
from repro.harness import launch as launching
from repro.harness.claim import Claim
from repro.harness.cluster import Cluster
from repro.harness.launch import batch as batches
from repro.harness.launch import payload, queue, sbatch
from repro.harness.launch import slurm as launcher
from repro.harness.plan import Plan, Stage
from repro.harness.state import Observation

GOLDEN = Path(__file__).with_name("golden") / "array.sh"

# Each pretended command notes its arguments. sbatch numbers the jobs and puts them into the queue; what it says
# instead, and whether the job is queued all the same, is in the files `fail` and `accepts`.
COMMANDS = {
    "sbatch": r"""
        comment=$(grep -o 'repro:[0-9a-f-]*' "$1"); n=$(( $(cat "$D/count") + 1 ))
        if [ ! -e "$D/fail" ] || [ -e "$D/accepts" ]; then echo $n > "$D/count"
          echo "$n|PENDING|None|$comment|name" >> "$D/queue"; fi
        if [ -e "$D/fail" ]; then cat "$D/fail" >&2; rm "$D/fail"; exit 1; fi
        env | grep -E '^(SBATCH|SLURM)_' > "$D/environment"; cp "$1" "$D/script.$n"
        echo "Submitted batch job $n" """,
    "squeue": r"""
        [ ! -e "$D/away" ] || { rm "$D/away"; echo "error: Unable to contact slurm controller" >&2; exit 1; }
        cat "$D/queue" """,
    "scontrol": r"""[ "$1" != release ] || exit $(cat "$D/release"); echo "MaxArraySize            = 4" """,
    "scancel": "",
    "srun": "",
}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in COMMANDS.items():
        path = folder / name
        path.write_text(f'#!/bin/bash\nD="{folder}"; echo "$(basename "$0") $*" >> "$D/calls"\n{text}\n')
        path.chmod(0o755)
    for name, text in {"count": "100\n", "queue": "", "calls": "", "release": "0"}.items():
        (folder / name).write_text(text)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr(launcher, "PAUSES", (0.0, 0.0))
    return folder


def calls(slurm, command):
    return [line for line in (slurm / "calls").read_text().splitlines() if line.startswith(command)]


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "engine.py").write_text("")
    return folder


def cluster(tmp_path, **settings):
    defaults = {"cpus_per_task": 4, "timeout_min": 60, "slurm_partition": "gpu"} | settings.pop("defaults", {})
    return Cluster(
        name="c", executor="slurm", output_root=tmp_path / "out", allow_dirty=True, defaults=defaults, **settings
    )


def plan(*shapes):
    """Make a plan from (label, kind, labels of parents)."""
    names = {label: hashlib.sha256(label.encode()).hexdigest()[:12] for label, _, _ in shapes}
    stages = {
        names[label]: Stage(
            signature=names[label],
            kind=kind,
            name=kind,
            label=label,
            config="c.py",
            recipe={},
            seed=0,
            parents={parent: names[parent] for parent in parents},
            datasets={},
            scale="smoke",
        )
        for label, kind, parents in shapes
    }
    return Plan(table="t/table1", digest="0", scale="smoke", stages=stages, cells=())


def launch(made, where, project, tmp_path, **options):
    return launching.launch(made, where, records=tmp_path / "records", project=project, **options)


# --- what is asked for


def test_script_of_an_array_is_as_it_was(slurm, tmp_path):
    where = cluster(
        tmp_path,
        setup=("module load cuda",),
        max_array_parallelism=2,
        defaults={
            "nodes": 2,
            "gpus_per_node": 8,
            "tasks_per_node": 8,
            "slurm_account": "lab",
            "slurm_comment": "paper",
        },
        python="/opt/python",
    )
    made = batches.Batch(
        "20260801-120000-00ff00",
        Path("/out"),
        {0: "aaaaaaaaaaaa", 2: "bbbbbbbbbbbb", 3: "cccccccccccc"},
        "afterok:7,aftercorr:9",
        "repro.engine.stage:run",
        Path("/out/code/0123"),
    )
    text = sbatch.Sender(made, "finetune", where).script()
    assert text == GOLDEN.read_text()


def test_cluster_file_decides_how_gpus_are_asked_for(tmp_path):
    made = batches.Batch("n", tmp_path, {0: "a"}, "", "e", tmp_path)
    both = {"gpus_per_node": 2, "tasks_per_node": 2}
    plain = sbatch.parameters(made, "train", cluster(tmp_path, defaults=both))
    gres = sbatch.parameters(made, "train", cluster(tmp_path, defaults=both, gpus_as="gres"))
    none = sbatch.parameters(made, "train", cluster(tmp_path))
    assert (plain["gpus_per_node"], gres["slurm_gres"]) == (2, "gpu:2")
    assert "gpus_per_node" not in gres
    assert not {"gpus_per_node", "slurm_gres", "mem_gb", "slurm_dependency"} & none.keys()


def test_missing_time_limit_and_unknown_keys_are_the_cluster_files_faults(slurm, tmp_path):
    made = batches.Batch("n", tmp_path, {0: "a"}, "", "e", tmp_path)
    with pytest.raises(ClusterError, match="c: train has no timeout_min"):
        sbatch.Sender(made, "train", cluster(tmp_path, defaults={"timeout_min": None}))
    with pytest.raises(ClusterError, match=r"(?s)c: train.*partitoin"):
        sbatch.Sender(made, "train", cluster(tmp_path, defaults={"slurm_partitoin": "gpu"}))


def test_missing_commands_are_named_with_what_repairs_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    made = batches.Batch("n", tmp_path, {0: "a"}, "", "e", tmp_path)
    with pytest.raises(LaunchError, match=r"sbatch, srun.*slurm/devcluster up"):
        sbatch.Sender(made, "train", cluster(tmp_path))


def test_the_shells_variables_do_not_reach_sbatch(slurm, project, tmp_path, monkeypatch):
    monkeypatch.setenv("SBATCH_TIMELIMIT", "7")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/this/slurm.conf")
    launch(plan(("a", "train", [])), cluster(tmp_path), project, tmp_path)
    assert (slurm / "environment").read_text() == "SLURM_CONF=/etc/this/slurm.conf\n"
    assert os.environ["SBATCH_TIMELIMIT"] == "7"


def test_arrays_are_no_longer_than_the_site_allows(slurm, project, tmp_path):
    launched = launch(plan(*[(f"t{i}", "train", []) for i in range(6)]), cluster(tmp_path), project, tmp_path)
    assert list(launched.jobs.values()) == ["101_0", "101_1", "101_2", "101_3", "102_0", "102_1"]
    assert "--array=0-3%4" in (slurm / "script.101").read_text()


SHARED = {"stages": {"propose": {"array": 3}}}


def test_a_stage_that_is_shared_is_an_array_of_its_own(slurm, project, tmp_path):
    shapes = [("p", "propose", []), ("q", "propose", []), ("t", "pretrain", ["p"]), ("u", "pretrain", ["p"])]
    where = cluster(tmp_path, **SHARED)
    made = plan(*shapes)
    launched = launch(made, where, project, tmp_path)
    assert list(launched.jobs.values()) == ["101_0", "102_0", "103_0", "103_1"]
    for number in (101, 102):
        assert "--array=0-2%3" in (slurm / f"script.{number}").read_text()
    assert "--dependency=afterok:101_0\n" in (slurm / "script.103").read_text()  # not for the helpers
    p, _, t, _ = made.stages
    assert [one.job for one in batches.submissions(where.output_root, p)] == ["101_0"]
    name = batches.submissions(where.output_root, p)[0].batch
    rows = [f"101_{index}|{word}|None|repro:{name}|x" for index, word in enumerate(["PENDING", "RUNNING", "FAILED"])]
    (slurm / "queue").write_text("\n".join(rows))
    assert launching.status(made, where, records=tmp_path / "records")[p].job == "101_0"
    launching.cancel(made, where, signatures={p, t}, records=tmp_path / "records")
    assert calls(slurm, "scancel") == ["scancel 101"]


def test_a_share_for_more_jobs_than_an_array_may_have(slurm, project, tmp_path):
    where = cluster(tmp_path, stages={"propose": {"array": 5}})
    with pytest.raises(ClusterError, match=r"stages.propose.array is 5; SLURM takes arrays of up to 4 jobs here"):
        launch(plan(("p", "propose", [])), where, project, tmp_path)
    assert calls(slurm, "sbatch") == []


def test_children_name_their_parents_jobs(slurm, project, tmp_path):
    shapes = [("p", "pretrain", []), ("t0", "finetune", ["p"]), ("t1", "finetune", ["p"])]
    shapes += [("e0", "evaluate", ["t0"]), ("e1", "evaluate", ["t1"])]
    launch(plan(*shapes), cluster(tmp_path), project, tmp_path)
    asked = [re.findall("--dependency=(.*)", (slurm / f"script.{n}").read_text()) for n in (101, 102, 103)]
    assert asked == [[], ["afterok:101"], ["aftercorr:102"]]


# --- what is made of the answers


def test_queue_rows():
    text = "7_1|PENDING|Dependency|site repro:20260801-120000-00ff00|n\n8|RUNNING|None|(null)|else\n"
    text += "9|FAILED|NonZeroExitCode|(null)|repro-train-20260801-120000-00ff01\n10_[1-4]|PENDING||repro:x|\n"
    rows = queue.parse(text)
    assert [(row.job, row.batch[-6:], row.index) for row in rows] == [("7_1", "00ff00", 1), ("9", "00ff01", 0)]
    assert [(row.live, row.running) for row in rows] == [(True, False), (False, False)]


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED"])
def test_words_for_a_job_that_holds_a_machine(state):
    entry = queue.Entry("1", state, "None", "b")
    assert (entry.live, entry.running) == (True, True)


@pytest.mark.parametrize("state", ["CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "COMPLETED"])
def test_words_for_a_job_that_has_ended(state):
    assert not queue.Entry("1", state, "None", "b").live


def test_a_live_job_says_more_than_a_newer_ended_one():
    old, live, new = (queue.Entry(str(n), s, "None", "b") for n, s in ((3, "FAILED"), (4, "PENDING"), (11, "FAILED")))
    assert queue.by_signature([new, live, old], {"b": {0: "sig"}})["sig"] is live
    assert queue.by_signature([new, old], {"b": {0: "sig"}})["sig"] is new


def test_second_launch_submits_nothing(slurm, project, tmp_path):
    made = plan(("a", "train", []), ("b", "train", []))
    launch(made, cluster(tmp_path), project, tmp_path)
    again = launch(made, cluster(tmp_path), project, tmp_path)
    assert again.todo == {}
    assert len(calls(slurm, "sbatch")) == 1


def test_refusal_is_reported_and_taken_back(slurm, project, tmp_path):
    (slurm / "fail").write_text("sbatch: error: Batch job submission failed: Invalid account")
    made = plan(("a", "train", []))
    with pytest.raises(LaunchError, match=r"SLURM refused .*Invalid account"):
        launch(made, cluster(tmp_path), project, tmp_path)
    signature = next(iter(made.stages))
    assert batches.submissions(tmp_path / "out", signature) == []
    assert list((tmp_path / "out" / "batches").rglob("*.pkl")) == []
    assert launch(made, cluster(tmp_path), project, tmp_path).jobs == {signature: "101"}


AWAY = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"


def test_a_controller_that_was_away_is_asked_again(slurm, project, tmp_path):
    (slurm / "fail").write_text(AWAY)
    (slurm / "away").touch()
    made = plan(("a", "train", []))
    where = cluster(tmp_path)
    with pytest.raises(queue.QueueAwayError, match="Unable to contact"):
        launching.status(made, where)
    (slurm / "away").touch()  # at the first look; then sbatch fails once
    launched = launch(made, where, project, tmp_path)
    assert list(launched.jobs.values()) == ["101"]
    assert len(calls(slurm, "sbatch")) == 2


def test_a_job_that_was_accepted_without_an_answer_is_not_submitted_again(slurm, project, tmp_path):
    (slurm / "fail").write_text(AWAY)
    (slurm / "accepts").touch()
    made = plan(("a", "train", []), ("b", "train", []))
    launched = launch(made, cluster(tmp_path), project, tmp_path)
    assert list(launched.jobs.values()) == ["101_0", "101_1"]
    assert len(calls(slurm, "sbatch")) == 1


def test_a_controller_that_stays_away_ends_the_submission(slurm, project, tmp_path, monkeypatch):
    monkeypatch.setattr(sbatch.Sender, "send", lambda sender: (_ for _ in ()).throw(queue.QueueAwayError("sbatch: x")))
    with pytest.raises(queue.QueueAwayError, match="sbatch: x"):
        launch(plan(("a", "train", [])), cluster(tmp_path), project, tmp_path)


def request(made, where, project, tmp_path):
    from repro.harness import state
    from repro.harness.launch.request import Request

    states = state.survey(made, where.output_root, tmp_path / "records")
    todo = state.to_run(made, states)
    return Request(
        plan=made,
        cluster=where,
        records=tmp_path / "records",
        todo=todo,
        waiting=(),
        states=states,
        entry="engine:run",
        project=project,
        allow_dirty=True,
        wait=False,
        on_event=lambda event: None,
    )


def test_what_another_person_submitted_meanwhile_is_left_alone(slurm, project, tmp_path):
    made = plan(("a", "train", []))
    late = request(made, cluster(tmp_path), project, tmp_path)  # looked before, submits after
    launch(made, cluster(tmp_path), project, tmp_path)
    assert list(launcher.submit(late).jobs.values()) == ["101"]
    assert len(calls(slurm, "sbatch")) == 1


def test_what_stands_behind_a_stage_that_runs_outside_the_queue_is_put_off(slurm, project, tmp_path):
    made = plan(("a", "train", []), ("b", "evaluate", ["a"]), ("c", "evaluate", ["b"]), ("d", "train", []))
    a, b, c, d = made.stages
    held = Claim.acquire(tmp_path / "out" / a)
    launched = launch(made, cluster(tmp_path), project, tmp_path)
    held.release("finished")
    assert list(launched.todo) == [d]
    assert launched.jobs == {d: "101"}
    assert launched.blocked[b].startswith("a (process")
    assert c in launched.blocked


def test_people_who_left_are_not_asked_for(slurm, project, tmp_path):
    made = plan(("a", "train", []))
    launch(made, cluster(tmp_path), project, tmp_path)
    (tmp_path / "out" / "batches" / "users" / "3999999999").touch()
    (tmp_path / "out" / "batches" / "users" / ".nfs0000001").touch()  # NFS, of a file that somebody still has open
    launching.status(made, cluster(tmp_path))
    assert calls(slurm, "squeue")[-1].endswith(f"-u {os.getuid()}")


def test_a_submitter_that_was_taken_for_dead_stops(slurm, project, tmp_path, monkeypatch):
    write = batches.write

    def meanwhile(made, works):
        turns = made.output_root / "batches" / "turns" / "attempts"
        content = json.loads((turns / "1.json").read_text())
        (turns / "2.json").write_text(json.dumps(content | {"number": 2}))
        write(made, works)

    monkeypatch.setattr(batches, "write", meanwhile)
    with pytest.raises(LaunchError, match="taken for dead"):
        launch(plan(("a", "train", [])), cluster(tmp_path), project, tmp_path)
    assert calls(slurm, "sbatch") == []


def test_nothing_stays_pending_for_ever(slurm):
    entries = {
        "a": queue.Entry("7_1", "PENDING", "DependencyNeverSatisfied", "b"),
        "b": queue.Entry("8", "PENDING", "launch failed requeued held", "b"),
        "c": queue.Entry("9", "PENDING", "Resources", "b"),
    }
    launcher.sweep(Observation(queue=entries))
    assert calls(slurm, "scancel") == ["scancel 7_1"]
    assert calls(slurm, "scontrol") == ["scontrol release 8"]
    (slurm / "release").write_text("1")
    launcher.sweep(Observation(queue={"b": entries["b"]}))
    assert calls(slurm, "scancel")[-1] == "scancel 8"


# --- what is written down


def test_a_job_finds_its_stage_by_its_index_and_notes_its_id(slurm, project, tmp_path, monkeypatch):
    made = plan(("a", "train", []), ("b", "train", []))
    launch(made, cluster(tmp_path), project, tmp_path)
    (note,) = (tmp_path / "out" / "batches").glob("*.job")
    note.unlink()  # as if the submitter had died before it
    ran = []
    monkeypatch.setattr(payload, "execute", lambda work, entry, **how: ran.append((work.stage.label, how)) or "ran")
    monkeypatch.setenv("SLURM_JOB_ID", "102")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "101")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    element = batches.Element(str(note.with_suffix(".json")))
    assert element() == "ran"
    assert ran[0][0] == "b"
    assert (ran[0][1]["on_terminate"], ran[0][1]["distributed"]) == ("stop if cancelled", True)
    assert note.read_text() == "101"
    assert [s.job for s in batches.submissions(tmp_path / "out", list(made.stages)[1])] == ["101_1"]


@pytest.mark.parametrize(("index", "call"), [(0, "execute"), (2, "assist")])
def test_of_a_shared_stage_the_first_job_is_the_stage_and_the_others_help(
    slurm, project, tmp_path, monkeypatch, index, call
):
    launch(plan(("p", "propose", [])), cluster(tmp_path, **SHARED), project, tmp_path)
    (file,) = (tmp_path / "out" / "batches").glob("*.json")
    ran = []
    for name in ("execute", "assist"):
        monkeypatch.setattr(payload, name, lambda work, entry, name=name, **how: ran.append((name, work)) or "ran")
    monkeypatch.setenv("SLURM_JOB_ID", "104")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "101")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(index))
    assert batches.Element(str(file))() == "ran"
    ((name, work),) = ran
    assert (name, work.stage.label, work.share) == (call, "p", (index, 3))


def test_element_hands_back_a_fresh_one():
    handed = batches.Element("/b.json").checkpoint()
    assert (handed.function, handed.args, handed.kwargs) == (batches.Element("/b.json"), (), {})


def test_failure_before_our_own_code_is_read_from_submitits_result(slurm, project, tmp_path):
    import cloudpickle

    made = plan(("a", "train", []))
    (signature,) = made.stages
    launch(made, cluster(tmp_path), project, tmp_path)
    (slurm / "queue").write_text("")  # MinJobAge is over
    name = batches.submissions(tmp_path / "out", signature)[0].batch
    result = tmp_path / "out" / "batches" / name / "101_0_result.pkl"
    result.write_bytes(cloudpickle.dumps(("error", "Traceback ...\nModuleNotFoundError: No module named 'torch'\n")))
    found = launching.status(made, cluster(tmp_path))[signature]
    assert (found.state, found.reason) == ("failed", "ModuleNotFoundError: No module named 'torch'")


def test_names_of_batches_are_found_in_the_queue():
    name = batches.new_name()
    assert queue.parse(f"1|PENDING|None|repro:{name}|x")[0].batch == name
    assert queue.parse(f"1|PENDING|None|other|repro-finetune-{name}")[0].batch == name


def test_logs_are_listed_oldest_submission_first(slurm, project, tmp_path):
    made = plan(("a", "train", []))
    (signature,) = made.stages
    where = cluster(tmp_path)
    for job in ("101", "102"):
        launch(made, where, project, tmp_path)
        folder = where.output_root / "batches" / batches.submissions(where.output_root, signature)[-1].batch
        for task in (0, 1):
            (folder / f"{job}_{task}_log.out").touch()
        (folder / f"{job}_0_log.err").touch()
        (slurm / "queue").write_text(f"{job}|CANCELLED|None|repro:{folder.name}|x\n")
    names = [path.name for path in launcher.logs(where, signature)]
    assert names == [f"{job}_{rest}" for job in ("101", "102") for rest in ("0_log.out", "1_log.out", "0_log.err")]


def test_bash_accepts_the_script(slurm, tmp_path):
    made = batches.Batch("n", tmp_path, {0: "a", 1: "b"}, "", "e", tmp_path)
    script = tmp_path / "script.sh"
    script.write_text(sbatch.Sender(made, "train", cluster(tmp_path)).script())
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
