"""A private SLURM for the whole session, and a small project with a pretended engine to launch on it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from repro.harness import launch as launching
from repro.harness import record
from repro.harness.cluster import Cluster
from repro.harness.launch import queue
from repro.harness.launch.request import Event, Launched
from repro.harness.plan import Plan, Stage
from repro.harness.state import StageState

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0  # only a hang takes this long
SBIN = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)


class Slurm:
    """The running cluster; called with a command, it returns what that prints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def devcluster(self, *arguments: str) -> str:
        command = [sys.executable, str(ROOT / "slurm" / "devcluster"), "--dir", str(self.folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def __call__(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    @staticmethod
    def until(true: Callable[[], Any], what: str) -> None:
        """Return as soon as ``true()``; fail when it takes as long as only a hang does."""
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, f"waited in vain: {what}"
            time.sleep(0.1)

    def restarts(self, job: str) -> int:
        """Return how often SLURM started the job again."""
        return int(self("scontrol", "show", "job", job).partition("Restarts=")[2].split()[0])

    def lose_node_of(self, job: str) -> None:
        """Let the node of a job die: its daemon, then the job's keepers and processes, all without a last word."""
        node = self("squeue", "-h", "-j", job, "-o", "%N")
        os.kill(int((self.folder / f"slurmd-{node}.pid").read_text()), signal.SIGKILL)
        numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        processes = [pid for pid in numbers if self._belongs(pid, job)]
        keepers = {ppid for ppid in map(_parent, processes) if ppid and _name(ppid) == "slurmstepd"}
        for pid in (*keepers, *processes):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def _belongs(self, pid: int, job: str) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        here = f"SLURM_CONF={self.folder}/etc/slurm.conf".encode()
        return f"SLURM_JOB_ID={job}".encode() in environment and here in environment


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    path = os.environ["PATH"] + os.pathsep + SBIN
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install --no-install-recommends slurm-wlm munge")
    # Not pytest's own folder: a Unix socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="repro-slurm-"))
    cluster = Slurm(folder / "s")
    cluster.devcluster("up", "--cpus", "4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.folder / "etc" / "slurm.conf"))
        patch.setenv("REPRO_MASTER_ADDR", "127.0.0.1")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield cluster
        cluster.devcluster("down")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the harness alone: a snapshot of it takes no time."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "repro" / "harness", folder / "repro" / "harness")
    for name in ("__init__.py", "errors.py"):
        shutil.copy(ROOT / "repro" / name, folder / "repro" / name)
    shutil.copy(Path(__file__).with_name("fake_engine.py"), folder / "fake_engine.py")
    return folder


class Lab:
    """A plan of pretended stages, its folders, and what became of it."""

    def __init__(self, folder: Path, project: Path, **settings: Any) -> None:
        self.folder = folder
        self.project = project
        self.records = folder / "records"
        self.stages: dict[str, Stage] = {}
        self.events: list[Event] = []
        defaults = {"cpus_per_task": 1, "timeout_min": 30, "slurm_partition": "debug"}
        self.cluster = Cluster(
            name="test",
            executor="slurm",
            output_root=folder / "out",
            poll_seconds=0.3,
            allow_dirty=True,
            defaults=defaults | settings.pop("defaults", {}),
            **settings,
        )

    def stage(self, name: str, kind: str = "train", parents: tuple[str, ...] = (), **recipe: Any) -> str:
        """Add a stage; return its signature."""
        signature = hashlib.sha256(f"{name} {self.folder}".encode()).hexdigest()[:12]
        self.stages[signature] = Stage(
            signature=signature,
            kind=kind,
            name=kind,
            label=name,
            config="fake.py",
            recipe=recipe,
            seed=0,
            parents={self.stages[parent].label: parent for parent in parents},
            datasets={},
            scale="smoke",
        )
        return signature

    @property
    def plan(self) -> Plan:
        return Plan(table="lab/table1", digest="0", scale="smoke", stages=self.stages, cells=())

    def launch(self, **options: Any) -> Launched:
        return launching.launch(
            self.plan,
            self.cluster,
            records=self.records,
            project=self.project,
            entry="fake_engine:mixed",
            on_event=self.events.append,
            **options,
        )

    def status(self) -> dict[str, StageState]:
        return launching.status(self.plan, self.cluster, records=self.records)

    def output(self, signature: str) -> Path:
        return self.cluster.output_root / signature

    def lines(self, signature: str, name: str) -> list[str]:
        """Return what the stage noted in ``starts`` or ``steps``."""
        path = self.output(signature) / name
        return path.read_text().splitlines() if path.exists() else []

    def metrics(self, signature: str) -> list[dict[str, float]]:
        return [found.metrics for found in record.read(signature, self.records)]

    def jobs(self) -> list[queue.Entry]:
        """Return every job that the queue knows of this lab, ended ones included."""
        mine = {path.stem for path in (self.cluster.output_root / "batches").glob("*.json")}
        return [entry for entry in queue.read() if entry.batch in mine]


@pytest.fixture(scope="session")
def make_lab(slurm: Slurm, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Lab]:
    """``Lab`` with settings of its cluster file."""
    return lambda **settings: Lab(tmp_path_factory.mktemp("lab"), project, **settings)


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab()
