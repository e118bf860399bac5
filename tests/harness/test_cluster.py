"""Cluster files: inheritance, variables, GPUs spread over nodes, and all faults at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from repro.errors import ClusterError
from repro.harness import cluster, places


def declare(folder: Path, text: str, name: str = "lab") -> cluster.Cluster:
    (folder / f"{name}.yaml").write_text(text)
    return cluster.load(name, folder)


def test_the_clusters_of_the_project_load(monkeypatch):
    monkeypatch.delenv("REPRO_OUTPUT", raising=False)
    assert {"local", "example", "dev"} <= set(cluster.names())
    for name in cluster.names():
        one = cluster.load(name)
        assert one.name == name
        assert one.output_root.is_absolute()
    assert cluster.load("example").resources("evaluate").gpus == 1
    assert cluster.load("example").resources("finetune").tasks == 8
    assert cluster.load("local").executor == "local"


def test_the_parts_of_a_file_arrive(tmp_path: Path):
    one = declare(
        tmp_path,
        """
        executor: slurm
        output_root: /shared/out
        setup: [module load cuda, 'export HERE=${NOT_OURS}']
        gpus_as: gres
        max_array_parallelism: 7
        defaults:
          {gpus_per_node: 8, cpus_per_task: 4, timeout_min: 60, mem_gb: 0.5, slurm_partition: gpu, slurm_account: lab}
        stages: {evaluate: {gpus: 1, slurm_partition: small}}
        """,
    )
    assert (one.output_root, one.datasets_root) == (Path("/shared/out"), None)
    assert one.setup == ("module load cuda", "export HERE=${NOT_OURS}")  # the shell's variables are the shell's
    assert (one.gpus_as, one.max_array_parallelism) == ("gres", 7)
    train = one.resources("train")
    assert (train.nodes, train.gpus_per_node, train.tasks_per_node, train.cpus_per_task) == (1, 8, 8, 4)
    assert (train.mem_gb, train.timeout_min) == (0.5, 60)
    assert train.slurm == {"partition": "gpu", "account": "lab"}
    assert one.resources("evaluate").slurm == {"partition": "small", "account": "lab"}
    assert one.resources("evaluate").tasks == 1


@pytest.mark.parametrize(
    ("defaults", "own", "layout"),
    [
        ({}, {}, (1, 0, 1)),
        ({"gpus_per_node": 4}, {}, (1, 4, 4)),
        ({"nodes": 2, "gpus_per_node": 4}, {}, (2, 4, 4)),
        ({"gpus": 16, "gpus_per_node": 8}, {}, (2, 8, 8)),
        ({"gpus_per_node": 8}, {"gpus": 16}, (2, 8, 8)),
        ({"gpus_per_node": 8}, {"gpus": 3}, (1, 3, 3)),
        ({"gpus_per_node": 8}, {"gpus": 0}, (1, 0, 1)),
        ({"gpus_per_node": 8, "tasks_per_node": 8}, {"gpus_per_node": 2}, (1, 2, 2)),
        ({"gpus": 8, "gpus_per_node": 8}, {"gpus_per_node": 0, "tasks_per_node": 1}, (1, 0, 1)),
        ({"nodes": 2, "gpus_per_node": 8}, {"gpus": 1}, (1, 1, 1)),
    ],
)
def test_gpus_are_spread_over_nodes_one_task_each(tmp_path: Path, defaults, own, layout):
    settings = {"executor": "local", "output_root": "/out", "defaults": defaults, "stages": {"pretrain": own}}
    found = declare(tmp_path, yaml.safe_dump(settings)).resources("pretrain")
    assert (found.nodes, found.gpus_per_node, found.tasks_per_node) == layout
    assert (found.gpus, found.tasks) == (layout[0] * layout[1], layout[0] * layout[2])


def test_variables_are_expanded_and_may_have_defaults(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("REPRO_TEST_ROOT", "/scratch")
    monkeypatch.delenv("REPRO_TEST_NONE", raising=False)
    text = "executor: local\noutput_root: ${REPRO_TEST_ROOT}/out\nslots: ${REPRO_TEST_NONE:-3}\n"
    one = declare(tmp_path, text + "datasets_root: ${REPRO_TEST_NONE:-~/data}")
    assert (one.output_root, one.slots, one.datasets_root) == (Path("/scratch/out"), 3, Path("~/data").expanduser())
    with pytest.raises(ClusterError, match="REPRO_TEST_NONE is not set"):
        declare(tmp_path, "executor: local\noutput_root: ${REPRO_TEST_NONE}/out")


def test_a_file_lies_over_the_one_it_inherits(tmp_path: Path):
    declare(
        tmp_path,
        "executor: slurm\noutput_root: /a\npoll_seconds: 5\n"
        "defaults: {timeout_min: 60, slurm_partition: gpu}\nstages: {propose: {cpus_per_task: 8}}",
        "base",
    )
    one = declare(tmp_path, "inherits: base\noutput_root: /b\ndefaults: {slurm_partition: big}")
    assert (one.output_root, one.poll_seconds, one.executor) == (Path("/b"), 5, "slurm")
    assert one.resources("propose").cpus_per_task == 8
    assert (one.resources("train").timeout_min, one.resources("train").slurm) == (60, {"partition": "big"})


def test_all_faults_are_told_at_once_with_the_nearest_right_key(tmp_path: Path):
    with pytest.raises(ClusterError) as error:
        declare(
            tmp_path,
            "executor: slrm\noutput_rot: /a\nslots: -1\ndefaults: {cpus_pertask: 8, timeout_min: 0:30}\n"
            "stages: {evaluat: {}, train: {slurm_acount: x}, finetune: {gpus: 4, nodes: 2}}",
        )
    text = str(error.value)
    assert "lab.yaml has" in text
    for part in (
        "executor: ",
        "unknown key. Did you mean output_root?",
        "output_root is missing",
        "slots: ",
        "unknown key cpus_pertask. Did you mean cpus_per_task?",
        "timeout_min",
        "evaluat",
        "unknown key slurm_acount. Did you mean slurm_account?",
        "gpus is the total",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("executor: slurm\noutput_root: /a", "defaults.timeout_min"),
        ("executor: local\noutput_root: /a\ndefaults: {gpus_per_node: 8, gpus: 12}", "ask for 8 or 16"),
        ("executor: local\noutput_root: /a\ninherits: lab", "inherits itself"),
        ("executor: local\noutput_root: /a\ninherits: nobody", "no cluster 'nobody'"),
        (
            "executor: local\noutput_root: /a\nstages: {pretrain: {array: 2}}",
            "of the kinds propose and label",
        ),
        ("executor: [", "is not YAML"),
        ("just text", "a mapping of settings was expected"),
    ],
)
def test_faults(tmp_path: Path, text: str, message: str):
    with pytest.raises(ClusterError, match=message):
        declare(tmp_path, text)


def test_a_wrong_name_gets_the_nearest_right_one(tmp_path: Path):
    declare(tmp_path, "executor: local\noutput_root: /a", "jewels")
    with pytest.raises(ClusterError, match="Did you mean jewels"):
        cluster.load("jewel", tmp_path)
    with pytest.raises(ClusterError, match=r"no cluster file .*elsewhere\.yaml"):
        cluster.load(tmp_path / "elsewhere.yaml")
    assert cluster.load(tmp_path / "jewels.yaml").name == "jewels"


def test_check_says_what_is_wrong_with_this_machine(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    good = cluster.Cluster(name="lab", executor="local", output_root=tmp_path / "new" / "out")
    assert cluster.check(good) == []
    bad = replace(
        good,
        executor="slurm",
        output_root=places.project_root() / "out",
        datasets_root=tmp_path / "nothing",
        python="no-such-python",
    )
    text = "\n".join(cluster.check(bad))
    for part in ("inside the project", "nothing: no such folder", "no-such-python", "sbatch, srun"):
        assert part in text
