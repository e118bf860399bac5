"""`repro doctor`: what is installed, what is broken, and the command that repairs it."""

from __future__ import annotations

import typer

from repro.cli import options, output

STYLES = {"ok": "green", "broken": "bold red", "absent": "yellow"}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor", rich_help_panel="Keep", epilog="Example: repro doctor")(doctor)


def doctor(as_json: options.Json = False) -> None:
    """Look at versions, Detectron2's source, OpenCV, CUDA, operators, SLURM and data sets; say how to repair each.

    Ends with 1 when something is broken that every run needs. What is absent is needed by some only.
    """
    from repro.cli.checks import all_checks

    found = list(all_checks())
    broken = [one for one in found if one.state == "broken"]
    if as_json:
        output.say_json({"healthy": not broken, "checks": found})
        raise typer.Exit(1 if broken else 0)
    from rich.text import Text

    grid = output.grid("", "", "")
    grid.show_header = False
    for one in found:
        grid.add_row(Text(one.state, style=STYLES[one.state]), one.subject, one.found)
    output.show(grid)
    for one in found:
        if one.repair:
            output.say(f"{one.subject}: {one.repair}")
    output.say(f"{len(broken)} broken: {', '.join(one.subject for one in broken)}." if broken else "Nothing is broken.")
    raise typer.Exit(1 if broken else 0)
