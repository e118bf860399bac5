"""A little world for launch tests: a project whose engine is a few lines of Python that do real work with files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repro.harness.cluster import Cluster
from repro.harness.plan import Cell, Plan, Stage

ENGINE = textwrap.dedent('''
    """Trains by counting: one file a step, resumed from the last one, and a record at the end."""
    import json, os, signal, sys, time, uuid
    from datetime import UTC, datetime
    from repro.harness import atomic, record

    LOADED = uuid.uuid4().hex

    def run(work):
        recipe, output = work.stage.recipe, work.output
        note(work, "starts")
        print("running", work.stage.label, flush=True)
        state = atomic.read_json(output / "checkpoint.json") or {"step": 0, "history": []}
        while state["step"] < recipe.get("steps", 1):
            step = state["step"] + 1
            trouble(recipe, step, output)
            time.sleep(recipe.get("seconds", 0.0))
            state = {"step": step, "history": [*state["history"], step * (work.stage.seed + 1)]}
            atomic.replace(output / "checkpoint.json", json.dumps(state))
            atomic.replace(output / "progress.json", json.dumps({"iteration": step, "iterations": recipe["steps"]}))
        above = [json.loads((work.parent_output(n) / "model_final.pth").read_text()) for n in work.stage.parents]
        (output / "model_final.pth").write_text(json.dumps([state["history"], above]))
        note(work, "ends")
        record.write(record.of(
            work, metrics={"sum": float(sum(state["history"]))}, started=datetime.now(UTC), seconds=1.0,
            checkpoint=record.describe(output / "model_final.pth", output),
        ), work.records)

    def note(work, what):
        folder = work.output_root / what
        folder.mkdir(exist_ok=True)
        content = {"signature": work.stage.signature, "worker": LOADED, "pid": os.getpid(), "attempt": work.attempt,
                   "time": time.time(), "threads": os.environ.get("OMP_NUM_THREADS"),
                   "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "file": __file__}
        (folder / f"{work.stage.signature}.{uuid.uuid4().hex}").write_text(json.dumps(content))

    def trouble(recipe, step, output):
        if recipe.get("raise_at") == step and not (output / "repaired").exists():
            raise ValueError("the loss is not finite\\nat all")
        if recipe.get("exit_at") == step:
            sys.exit(3)
        if recipe.get("kill_at") == step and not (output / "killed").exists():
            (output / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
''')


@dataclass(frozen=True)
class World:
    """Where a test's launches happen."""

    project: Path
    cluster: Cluster
    records: Path

    @property
    def root(self) -> Path:
        return self.cluster.output_root

    def notes(self, what: str, signature: str = "") -> list[dict[str, Any]]:
        """What the engine noted at its ``starts`` or ``ends``, in order of time."""
        import json

        found = [json.loads(path.read_text()) for path in (self.root / what).glob(f"{signature}*")]
        return sorted(found, key=lambda note: note["time"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    project = tmp_path / "project"
    project.mkdir()
    (project / "fake_engine.py").write_text(ENGINE)
    git(project, "init", "-q")
    commit(project)
    cluster = Cluster(name="test", executor="local", output_root=tmp_path / "output", slots=2, poll_seconds=0.1)
    cluster.output_root.mkdir()
    return World(project, cluster, tmp_path / "records")


def git(project: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(project), *who, *arguments], check=True, capture_output=True, text=True, env=dict(os.environ)
    ).stdout.strip()


def commit(project: Path) -> str:
    git(project, "add", "--all")
    git(project, "commit", "-q", "-m", "A change")
    return git(project, "rev-parse", "HEAD")


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    """Make a plan of ``{name: (kind, parents, recipe)}``; each name's stage has a signature that a test can foresee."""

    def make(stages: dict[str, tuple[str, list[str], dict[str, Any]]]) -> Plan:
        made: dict[str, Stage] = {}
        for name, (kind, parents, recipe) in stages.items():
            made[name] = Stage(
                signature=signature_of(name),
                kind=kind,
                name=name,
                label=f"test {name}",
                config=f"test/{kind}.py",
                recipe={"steps": 1, **recipe},
                seed=0,
                parents={parent: made[parent].signature for parent in parents},
                datasets={},
                scale="smoke",
            )
        used = {parent for stage in made.values() for parent in stage.parents.values()}
        ends = [stage.signature for stage in made.values() if stage.signature not in used]
        cells = tuple(Cell("row", f"c{i}", 0, "coco_box.AP", (end,)) for i, end in enumerate(ends))
        return Plan("test/table1", "0" * 12, "smoke", {stage.signature: stage for stage in made.values()}, cells)

    return make


def signature_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


@pytest.fixture
def slurm_task(monkeypatch):
    """A task of a SLURM job as its environment shows it; what ``export`` sets is taken back."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    def enter(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"SLURM_{name}", value)

    return enter
