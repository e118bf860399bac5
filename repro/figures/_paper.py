"""How figures look: sizes of a two-column page, type of 8 points, colours that all readers can tell apart."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import InstallError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.25, 6.875  # inches: a column and the whole width of a CVPR page

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Okabe and Ito's; with each goes a marker of its own, for those who print without colour."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws alike
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "savefig.dpi": 300,
    "figure.dpi": 300,
}

SMALL = 5  # points of the line that says where a figure is from
LETTER = 0.62  # width of a letter, relative to its size; of most a little less


@contextmanager
def style() -> Iterator[None]:
    """Draw as papers print.

    Raises:
        InstallError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise InstallError("Drawing needs matplotlib. Repair: make install") from error
    with matplotlib.rc_context(dict(STYLE)):
        yield


def canvas(width: float, height: float, *, images: bool = False) -> Figure:
    """Return an empty figure of so many inches, which lays out its own margins; ``images`` stand close together."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="compressed" if images else "constrained")


def save(figure: Figure, source: str, paths: list[Path]) -> None:
    """Write a figure with a small line below it that says where it is from.

    Args:
        figure: One that `canvas` made.
        source: That line; it is also in the file's metadata.
        paths: Files; the name's end says the format.
    """
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(source, int(width * 72 / (SMALL * LETTER)))
    share = (len(lines) * SMALL * 1.3 + 3) / 72 / height
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, share, 1, 1 - share))  # type: ignore[call-arg]
    figure.text(0.01, 2 / 72 / height, "\n".join(lines), fontsize=SMALL, color="#555555", va="bottom", linespacing=1.3)
    for path in paths:
        said = {"png": {"Description": source}, "pdf": {"Subject": source}, "svg": {"Description": source}}
        figure.savefig(path, metadata=said[path.suffix[1:]])
