"""Frozen code: whole, shared by all jobs of a commit, and honest about uncommitted changes."""

from __future__ import annotations

import multiprocessing
import subprocess
from pathlib import Path

import pytest

from repro.errors import LaunchError
from repro.harness.launch import snapshot


@pytest.fixture
def git(world):
    def call(*arguments: str) -> str:
        who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(world.project), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    return call


def test_a_commit_is_frozen_once_and_whole(world, git):
    (world.project / "package").mkdir()
    (world.project / "package" / "é module.py").write_text("x = 1\n")
    git("add", "--all")
    git("commit", "-q", "-m", "More")
    code = snapshot.take(world.project, world.root)
    assert (code.commit, code.dirty) == (git("rev-parse", "HEAD"), False)
    assert (code.path / "package" / "é module.py").read_text() == "x = 1\n"
    assert (code.path / "fake_engine.py").exists()
    assert not (code.path / ".git").exists()
    inode = (code.path / "fake_engine.py").stat().st_ino
    assert snapshot.take(world.project, world.root) == code
    assert (code.path / "fake_engine.py").stat().st_ino == inode
    assert [path.name for path in (world.root / "code").iterdir()] == [code.path.name]


def test_frozen_code_does_not_follow_the_project(world, git):
    before = snapshot.take(world.project, world.root)
    (world.project / "fake_engine.py").write_text("changed = True\n")
    git("commit", "-q", "-a", "-m", "Change")
    after = snapshot.take(world.project, world.root)
    assert after.path != before.path
    assert "changed" not in (before.path / "fake_engine.py").read_text()


def test_uncommitted_changes_are_refused_by_name_unless_allowed(world, git):
    (world.project / "fake_engine.py").write_text("changed = True\n")
    (world.project / "new.py").write_text("new = True\n")
    git("add", "new.py")
    (world.project / "untracked.py").write_text("untracked = True\n")
    with pytest.raises(LaunchError) as error:
        snapshot.take(world.project, world.root)
    for name in ("fake_engine.py", "new.py", "untracked.py", "allow_dirty"):
        assert name in str(error.value)
    status = git("status", "--porcelain")
    code = snapshot.take(world.project, world.root, allow_dirty=True)
    assert (code.commit, code.dirty) == (git("rev-parse", "HEAD"), True)
    assert (code.path / "fake_engine.py").read_text() == "changed = True\n"
    assert (code.path / "untracked.py").exists()
    assert git("status", "--porcelain") == status  # the user's index is as it was
    assert snapshot.about(world.project) == {"commit": code.commit, "dirty": True}


def test_results_and_ignored_files_are_no_changes(world, git):
    (world.project / ".gitignore").write_text("*.log\n")
    git("add", ".gitignore")
    git("commit", "-q", "-m", "Ignore logs")
    (world.project / "results" / "records").mkdir(parents=True)
    (world.project / "results" / "records" / "a.json").write_text("{}")
    (world.project / "run.log").write_text("much")
    code = snapshot.take(world.project, world.root)
    assert not code.dirty
    assert not (code.path / "run.log").exists()
    (world.project / "new.py").write_text("")
    dirty = snapshot.take(world.project, world.root, allow_dirty=True)
    assert (dirty.path / "new.py").exists()
    assert not (dirty.path / "results").exists()


def test_a_half_made_copy_is_never_used(world, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "_settle", lambda *arguments: 1 / 0)  # killed just before the end
        with pytest.raises(ZeroDivisionError):
            snapshot.take(world.project, world.root)
    left = list((world.root / "code").iterdir())
    assert len(left) == 1
    assert left[0].name.startswith(".making-")
    code = snapshot.take(world.project, world.root)
    assert code.path != left[0]
    assert (code.path / snapshot.COMPLETE).exists()


def test_many_launches_at_once_share_one_copy(world):
    with multiprocessing.get_context("fork").Pool(6) as pool:
        taken = pool.starmap(snapshot.take, [(world.project, world.root)] * 6)
    assert len(set(taken)) == 1
    assert [path.name for path in (world.root / "code").iterdir()] == [taken[0].path.name]
    assert (taken[0].path / "fake_engine.py").exists()


def test_a_project_without_git_is_frozen_by_content(tmp_path: Path):
    project = tmp_path / "unpacked"
    (project / "package" / "__pycache__").mkdir(parents=True)
    (project / "package" / "a.py").write_text("a = 1\n")
    (project / "package" / "__pycache__" / "a.pyc").write_bytes(b"x")
    (project / "results").mkdir()
    (project / "results" / "r.json").write_text("{}")
    code = snapshot.take(project, tmp_path / "out")
    assert (code.commit, code.dirty) == (None, True)
    assert sorted(p.name for p in code.path.rglob("*") if p.is_file()) == [snapshot.COMPLETE, "a.py"]
    assert snapshot.take(project, tmp_path / "out") == code
    (project / "package" / "a.py").write_text("a = 2\n")
    assert snapshot.take(project, tmp_path / "out").path != code.path
    assert snapshot.about(project) == {"commit": None, "dirty": True}
