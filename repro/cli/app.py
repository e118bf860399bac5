"""The verbs, put together, and the one place where an error becomes an exit code.

Errors that a user can cause are printed without a traceback and end with 2, like a wrong option; whatever else escapes
is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from repro.cli import (
    comparing,
    data,
    diagnosis,
    drawing,
    exporting,
    importing,
    launching,
    nightly,
    ops,
    planning,
    predicting,
    records,
    tables,
    timing,
    watching,
)
from repro.errors import ReproError


class Verbs(TyperGroup):
    """A command group that explains the errors of ``repro.errors``."""

    def invoke(self, ctx: Any) -> Any:
        """Call the verb.

        Raises:
            typer.Exit: with 2 after an error that the user can mend.
        """
        try:
            return super().invoke(ctx)
        except ReproError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    name="repro",
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        from repro import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback(
    epilog="For a table, in this order: repro show, plan, run, status, diff. Each verb has an example: --help."
)
def repro(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Declare a paper's table, run it here or on SLURM, and set what was measured beside what was printed."""


for verbs in (
    tables, planning, launching, watching, comparing, drawing, predicting, exporting, timing, importing, records,
    nightly, data, ops, diagnosis,
):  # fmt: skip
    verbs.register(app)
