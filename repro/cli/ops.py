"""`repro ops`: compile the native operators, and say which are compiled."""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli import options, output

Operators = Annotated[list[str] | None, typer.Argument(metavar="[OP]...", help="Operators; all by default.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Compile the native operators.",
        epilog="Example: repro ops build",
    )
    group.command("build", epilog="Example: repro ops build ms_deform_attn --arch 80 --arch 90+")(build)
    group.command("list", epilog="Example: repro ops list")(list_)
    app.add_typer(group, name="ops", rich_help_panel="Keep")


def build(
    ops: Operators = None,
    cuda: Annotated[
        bool | None,
        typer.Option("--cuda/--no-cuda", help="CUDA kernels too. Default: where an nvcc matches torch."),
    ] = None,
    arch: Annotated[
        list[str] | None,
        typer.Option("--arch", help="80, 90+, …; + for PTX. Default: this machine's GPUs, else all supported."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compile again what is there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Compile operators ahead of time, once for each version of torch; jobs only load them.

    The libraries go to $REPRO_OPS_CACHE (~/.cache/repro/ops): put it on a file system that all nodes share.
    """
    from repro.ops import build as builder
    from repro.ops import library

    report = output.remark if as_json else output.say
    made = {
        op: builder.build(op, cuda=cuda, architectures=arch, force=force, report=report)
        for op in ops or library.operators()
    }
    if as_json:
        output.say_json({op: str(path) for op, path in made.items()})


def list_(as_json: options.Json = False) -> None:
    """List the native operators: the library that serves this machine, or why there is none."""
    from repro.ops import library

    found = {op: library.find(op) for op in library.operators()}
    if as_json:
        output.say_json({op: {"path": one.path and str(one.path), "reason": one.reason} for op, one in found.items()})
        return
    grid = output.grid("operator", "library")
    for op, one in found.items():
        grid.add_row(op, str(one.path) if one.path else one.reason)
    output.show(grid)
