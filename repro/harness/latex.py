"""Text and numbers as LaTeX, in the booktabs style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "…": r"\dots{}",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "Δ": r"$\Delta$",
    "†": r"$\dagger$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
}


@dataclass(frozen=True)
class Line:
    """A label and a cell for each column. ``under`` sets it small and indented, as a line of the row above it."""

    cells: Sequence[str]
    under: bool = False


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it stands.

    >>> escape("1 % & 2.3 ± 0.4")
    '1 \\% \\& 2.3 $\\pm$ 0.4'
    """
    return "".join(_SPECIAL.get(character, character) for character in text)


def tabular(columns: Sequence[tuple[str, str]], body: Sequence[Line], caption: str, notes: Sequence[str] = ()) -> str:
    r"""A ``table`` with a label column and one centred column each for ``columns``; needs ``\usepackage{booktabs}``.

    Args:
        columns: Label and group of each column; neighbours of one group share a heading.
        body: Lines of plain text, escaped here.
        caption: Of the table.
        notes: Small print under it.
    """
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        *_groups(columns),
        _line(["", *(escape(label) for label, _ in columns)]),
        r"\midrule",
    ]
    for number, line in enumerate(body):
        cells = [escape(cell) for cell in line.cells]
        if line.under:
            cells = [rf"\quad\small {cells[0]}", *(rf"\small {cell}" if cell else "" for cell in cells[1:])]
        elif number:
            lines.append(r"\addlinespace")
        lines.append(_line(cells))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {escape(note)}" for note in notes]
    return "\n".join([*lines, r"\end{table}", ""])


def _groups(columns: Sequence[tuple[str, str]]) -> list[str]:
    """The heading over the labels, with a rule under each group; nothing where no column has a group."""
    if not any(group for _, group in columns):
        return []
    cells, rules, at = [""], [], 2
    for group, members in groupby(columns, key=lambda column: column[1]):
        count = len(list(members))
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape(group)}}}" if group else " & ".join([""] * count))
        rules += [rf"\cmidrule(lr){{{at}-{at + count - 1}}}"] if group else []
        at += count
    return [_line(cells), " ".join(rules)]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
