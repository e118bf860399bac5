"""slurm/devcluster: started twice it is one cluster, and taking one down leaves its neighbour alone."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "slurm" / "devcluster"


def call(folder, *arguments):
    command = [sys.executable, str(SCRIPT), "--dir", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def folder():
    made = Path(tempfile.mkdtemp(prefix="repro-slurm-"))
    yield made / "s"
    call(made / "s", "down")
    shutil.rmtree(made)


def test_life_of_a_second_cluster(slurm, folder):
    assert call(folder, "status").returncode == 1
    assert call(folder, "up").returncode == 0
    pids = {path: path.read_text() for path in folder.rglob("*pid")}
    again = call(folder, "up")
    assert (again.returncode, again.stdout) == (0, f"already up in {folder}\n")
    assert {path: path.read_text() for path in folder.rglob("*pid")} == pids
    assert call(folder, "status").returncode == 0
    assert f"export SLURM_CONF={folder}/etc/slurm.conf\n" in call(folder, "env").stdout
    assert call(folder, "down").returncode == 0
    assert not folder.exists()
    assert call(slurm.folder, "status").returncode == 0


def test_strangers_folders_are_left_alone(slurm, folder):
    folder.mkdir()
    (folder / "thesis.tex").write_text("")
    for verb in ("up", "down"):
        refused = call(folder, verb)
        assert refused.returncode == 2
        assert str(folder) in refused.stderr
    assert (folder / "thesis.tex").exists()
    shutil.rmtree(folder)
