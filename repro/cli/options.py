"""Arguments and options that several verbs have, so that they are called and explained alike."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from repro.cli import complete, output

Table = Annotated[
    str, typer.Argument(metavar="TABLE", help="detreg/table5, or table5 alone.", autocompletion=complete.tables)
]
Figure = Annotated[
    str, typer.Argument(metavar="FIGURE", help="detreg/figure5, or figure5 alone.", autocompletion=complete.figures)
]
Tables = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TABLE]...", help="Tables; all by default.", autocompletion=complete.tables),
]
Address = Annotated[
    str,
    typer.Argument(
        metavar="TABLE/ROW/COLUMN", help="A cell: detreg/table5/detreg/1%.", autocompletion=complete.addresses
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        "-s",
        help="paper, small, tiny or smoke. Default: $REPRO_SCALE, else paper.",
        autocompletion=complete.scales,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        "-c",
        help="A file of slurm/, or a path. Default: $REPRO_CLUSTER, else local.",
        autocompletion=complete.clusters,
    ),
]
Rows = Annotated[
    str | None,
    typer.Option("--rows", help="Ids separated by commas; globs: 'det*'.", autocompletion=complete.rows),
]
Columns = Annotated[
    str | None,
    typer.Option("--columns", help="Ids separated by commas; globs: '1*'.", autocompletion=complete.columns),
]
Seeds = Annotated[str | None, typer.Option("--seeds", help="42,43 or 42-44. Default: those of the scale.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _override(variable: str) -> Any:
    """Return an option's callback that sets a variable of the environment for as long as the verb runs."""

    def callback(ctx: typer.Context, value: Path | None) -> Path | None:
        if value is not None and not ctx.resilient_parsing:
            before = os.environ.get(variable)
            os.environ[variable] = str(value.expanduser().absolute())
            ctx.call_on_close(lambda: _restore(variable, before))
        return value

    return callback


def _restore(variable: str, before: str | None) -> None:
    if before is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = before


Results = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="DIR",
        help="Folder of plans, records, tables and figures. Default: $REPRO_RESULTS, else results/.",
        callback=_override("REPRO_RESULTS"),
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="Folder of checkpoints and logs. Default: the cluster's, else $REPRO_OUTPUT.",
        callback=_override("REPRO_OUTPUT"),
    ),
]


def folders() -> str:
    """Return the options that name our folders again where they are not the usual ones, with a space in front.

    A variable of the environment may be gone when the next command is typed: `make demo` sets two for itself alone.
    """
    from repro.harness import places

    usual = (
        ("--results", places.results(), places.project_root() / "results"),
        ("--output", places.output_root(), Path("~/.cache/repro").expanduser()),
    )
    return "".join(f" {name} {shlex.quote(output.short(now))}" for name, now, then in usual if now != then)


def program() -> str:
    """Return what to type for this program: its name, or its path where the shell does not find it by that."""
    called = Path(sys.argv[0])
    return output.short(called) if called.name == "repro" and not shutil.which("repro") else "repro"
