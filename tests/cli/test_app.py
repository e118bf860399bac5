"""What holds for the command line as a whole: it is quick to import, explains itself, and tells errors from bugs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from repro.cli.app import app

HEAVY = ("torch", "torchvision", "detectron2", "pandas", "scipy", "submitit", "pydantic", "cv2", "numpy", "yaml")


def repro(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the console script's entry in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "repro", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "160"} | environment,
    )


def verbs() -> dict[str, typer.models.CommandInfo]:
    """All verbs by how they are called, with those of groups."""
    found = {info.name or "": info for info in app.registered_commands}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for info in group.typer_instance.registered_commands:
            found[f"{group.name} {info.name}"] = info
    return found


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "try:\n"
        "    from repro.cli import main; sys.argv = ['repro', '--help']; main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nightly" in done.stdout
    assert done.stdout.rstrip().endswith("HEAVY []")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, repro; print(sorted(set({(*HEAVY, 'typer', 'rich')!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_verb_that_was_promised_is_there() -> None:
    promised = "list show check plan run status logs cancel diff why import gc report nightly doctor"
    groups = "record show, record verify, record merge, data list, data check, data prepare"
    assert set(verbs()) >= {*promised.split(), *groups.split(", ")}


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_has_help_with_an_example_and_json(verb: str) -> None:
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, [*verb.split(), "--help"], env={"COLUMNS": "160"})
    assert done.exit_code == 0
    assert "--json" in done.stdout
    assert f"repro {verb} " in done.stdout or f"repro {verb}\n" in done.stdout.replace(" \n", "\n").replace("  ", "")


def test_errors_of_users_have_no_traceback_and_end_with_2(tmp_path: Path) -> None:
    done = repro("show", "table99", REPRO_BENCHMARKS=str(tmp_path))
    assert done.returncode == 2
    assert "table99" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_bugs_keep_their_traceback() -> None:
    code = (
        "import repro.cli.names, sys\n"
        "def broken(name): raise ZeroDivisionError('a bug')\n"
        "repro.cli.names.load_table = broken\n"
        "from repro.cli import main; sys.argv = ['repro', 'show', 'table5']; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "ZeroDivisionError: a bug" in done.stderr


def test_a_wrong_verb_gets_the_nearest_one() -> None:
    done = repro("stauts")
    assert done.returncode == 2
    assert "status" in done.stderr


def test_version() -> None:
    import repro as package

    assert repro("--version").stdout.strip() == package.__version__
