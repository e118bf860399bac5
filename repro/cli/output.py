"""What goes to the terminal: results and JSON to standard output, remarks and errors to standard error."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 140  # of lines that go to a file or another program, which has no width of its own


def console(*, stderr: bool = False) -> Console:
    """Return a Rich console for this moment's standard output, or standard error."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPED_WIDTH
    return Console(file=stream, width=width, highlight=False, emoji=False, markup=False)


def show(renderable: Any) -> None:
    """Print something of Rich's."""
    console().print(renderable)


def say(text: str = "") -> None:
    """Print a line of results as it is: never wrapped, never coloured."""
    typer.echo(text)


def remark(text: str) -> None:
    """Print a line that is not part of the result."""
    typer.echo(text, err=True)


def say_json(content: Any) -> None:
    """Print ``content`` as JSON: data classes as objects, NaN and infinity as null."""
    typer.echo(json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False))


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def duration(seconds: float | None) -> str:
    """Write a time span in at most two units.

    >>> duration(3725), duration(59.4), duration(None)
    ('1 h 02 min', '59 s', '')
    """
    if seconds is None or not math.isfinite(seconds):
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """Write a number of bytes.

    >>> size(512), size(2_400_000)
    ('512 B', '2.4 MB')
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} B"


def short(path: str | Path) -> str:
    """Write a path from here, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def counted(count: int, what: str) -> str:
    """Write a number with its noun.

    >>> counted(1, "stage"), counted(2, "stage")
    ('1 stage', '2 stages')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def grid(*columns: str, right: tuple[str, ...] = ()) -> Any:
    """Return an empty Rich table with a plain head; ``right`` names the columns that are set flush right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table
