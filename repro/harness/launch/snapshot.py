"""The code as it was at submission: jobs that start days later, or start again, run what was launched.

A snapshot is ``<output_root>/code/<id>/``: the files of a commit, made aside and renamed when complete, and used by
every job of that commit. Folder names are the contents' (a git tree's hash, or a hash over all files where there is no
git), so a half-copied snapshot is never mistaken for a whole one and equal code is kept once.

Uncommitted changes are refused unless allowed; then the snapshot holds them and the records say ``dirty``. What lies
in ``results/`` does not count: running writes there.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.errors import LaunchError
from repro.harness import atomic

COMPLETE = ".complete.json"
RESULTS = "results"
SHOWN = 10
SKIPPED = {".git", ".venv", "__pycache__", RESULTS, "node_modules", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
LARGEST = 10_000_000  # bytes; bigger files of a tree without git are data, not code


@dataclass(frozen=True)
class Code:
    """Frozen code: where it lies, the commit that it is or comes from, and whether it holds uncommitted changes."""

    path: Path
    commit: str | None
    dirty: bool

    @property
    def about(self) -> dict[str, Any]:
        """What records keep of it."""
        return {"commit": self.commit, "dirty": self.dirty}


def take(project: Path, output_root: Path, *, allow_dirty: bool = False) -> Code:
    """Freeze the code of ``project`` under ``output_root`` and return it; a snapshot that is there already is used.

    Raises:
        LaunchError: there are uncommitted changes and ``allow_dirty`` is not set; they are listed.
    """
    commit = _git(project, "rev-parse", "HEAD") if _has_git(project) else None
    if commit is None:
        return _copy(project, output_root / "code")
    changed = _changes(project)
    if changed and not allow_dirty:
        listed = "\n".join(f"  {name}" for name in changed[:SHOWN])
        more = f"\n  and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise LaunchError(
            f"{project} has uncommitted changes, so no record could say which code ran:\n{listed}{more}\n"
            "Commit them, or allow them (--allow-dirty, or allow_dirty: true in the cluster's file)."
        )
    tree = _tree_with_changes(project) if changed else _git(project, "rev-parse", "HEAD^{tree}")
    return Code(_extract(project, tree, output_root / "code", commit), commit, bool(changed))


def about(project: Path) -> dict[str, Any]:
    """Return what a record keeps of code that runs where it lies, without a snapshot."""
    if not _has_git(project):
        return {"commit": None, "dirty": True}
    return {"commit": _git(project, "rev-parse", "HEAD"), "dirty": bool(_changes(project))}


def _has_git(project: Path) -> bool:
    """Return whether ``project`` is the top of a git repository with a commit."""
    if shutil.which("git") is None:
        return False
    done = subprocess.run(
        ["git", "-C", str(project), "rev-parse", "--show-cdup", "--verify", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0 and (project / ".git").exists()


def _git(project: Path, *arguments: str, index: str | None = None) -> str:
    environment = os.environ | ({"GIT_INDEX_FILE": index} if index else {})
    done = subprocess.run(
        ["git", "-C", str(project), *arguments], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise LaunchError(f"git {' '.join(arguments)} failed in {project}: {done.stderr.strip()}")
    return done.stdout.strip()


def _changes(project: Path) -> list[str]:
    """Return changed and new files, apart from results and from what git ignores."""
    done = _git(project, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
    names = [entry.lstrip()[2:].lstrip() for entry in done.split("\0") if entry]
    return [name for name in names if not name.startswith(f"{RESULTS}/")]


def _tree_with_changes(project: Path) -> str:
    """Write the working tree as a git tree, through an index of its own: the user's index stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        index = str(Path(folder) / "index")
        _git(project, "read-tree", "HEAD", index=index)
        _git(project, "add", "--all", "--", ".", f":(exclude){RESULTS}", index=index)
        return _git(project, "write-tree", index=index)


def _extract(project: Path, tree: str, root: Path, commit: str) -> Path:
    target = root / tree[:16]
    if _used(target):
        return target
    aside = _aside(root)
    archive = aside.with_suffix(".tar")
    try:
        _git(project, "archive", "--format=tar", f"--output={archive}", tree)
        with tarfile.open(archive) as packed:
            packed.extractall(aside, filter="data")
    finally:
        archive.unlink(missing_ok=True)
    return _settle(aside, target, {"commit": commit, "tree": tree})


def _copy(project: Path, root: Path) -> Code:
    """Freeze a tree without git: copy its source files to a folder named by their content."""
    files = sorted(_sources(project))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(project)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    target = root / f"files-{digest.hexdigest()[:16]}"
    if not _used(target):
        aside = _aside(root)
        for path in files:
            copy = aside / path.relative_to(project)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        _settle(aside, target, {"commit": None, "files": digest.hexdigest()})
    return Code(target, None, True)


def _sources(project: Path) -> Iterable[Path]:
    for folder, folders, names in os.walk(project):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.endswith(".egg-info")]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and path.stat().st_size <= LARGEST and not name.endswith((".pyc", ".pth")):
                yield path


def _used(target: Path) -> bool:
    """Return whether a whole snapshot is there; if so, stamp it, since `repro gc` removes what nobody used for long."""
    if not (target / COMPLETE).exists():
        return False
    os.utime(target)
    return True


def _aside(root: Path) -> Path:
    aside = root / f".making-{os.getpid()}-{secrets.token_hex(4)}"
    aside.mkdir(parents=True)
    return aside


def _settle(aside: Path, target: Path, content: dict[str, Any]) -> Path:
    """Mark ``aside`` complete and put it in place; whoever comes second uses the first one's."""
    atomic.replace(aside / COMPLETE, json.dumps(content))
    try:
        aside.rename(target)
    except OSError:
        if not (target / COMPLETE).exists():
            raise
        shutil.rmtree(aside)
    return target
