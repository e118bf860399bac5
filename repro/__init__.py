"""Declare a paper's table, run it, and set what was measured beside what was printed.

    >>> import repro
    >>> frame = repro.diff("detreg/table5", scale="small")     # a tidy pandas frame, one row a cell

Everything else is reached through the command line (``repro --help``) or the packages below this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["__version__", "diff"]


def diff(
    table: str,
    scale: str | None = None,
    *,
    rows: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    seeds: str | Sequence[int] | None = None,
    against: Literal["paper", "accepted"] = "paper",
    cluster: str | None = None,
    results: str | Path | None = None,
) -> pd.DataFrame:
    """Return the comparison that ``repro diff`` prints, as a tidy frame: one row a cell, then one a claim.

    Args:
        table: Name of the table, "detreg/table5", or "table5" where that says enough.
        scale: "paper" (the default), "small", "tiny" or "smoke".
        rows: Ids to keep, in a list or separated by commas; globs are allowed. All by default.
        columns: As ``rows``.
        seeds: Seeds to compare; those of the scale by default.
        against: "accepted" sets the paper scale, too, against our own accepted numbers.
        cluster: Whose queue and output folder tell failed stages from those not run; "local" by default.
        results: Folder that holds ``plans/`` and ``records/``; the project's by default.

    Raises:
        ReproError: There is no such table, row, column or plan, or the plan is older than the table.
    """
    from repro.cli.comparison import compare

    return compare(
        table, scale, rows=rows, columns=columns, seeds=seeds, against=against, cluster=cluster, results=results
    ).frame


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("repro")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
