"""The comparison as a page: the paper's own rows and columns, ours under theirs, a verdict in words in every cell.

All formats are made from the frame of `repro.harness.diff`, so a report can be remade wherever the frame can be read.
A cell has up to four lines: the number as printed, ours as mean ± standard deviation over seeds with their number, the
difference to the baseline row, the verdict.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from repro.harness import atomic, latex
from repro.harness.diff import exit_code, table_line
from repro.harness.verdict import JUDGED, MEANING, Verdict, signed

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group
    from rich.table import Table as RichTable

    from repro.harness.table import Table

Format = Literal["table", "markdown", "csv", "json", "latex"]
FORMATS: tuple[Format, ...] = ("table", "markdown", "csv", "json", "latex")

STYLES = {
    Verdict.MATCHES: "green",
    Verdict.BETTER: "cyan",
    Verdict.WORSE: "bold red",
    Verdict.FAILED: "bold red",
    Verdict.UNDECIDED: "yellow",
    Verdict.PARTIAL: "yellow",
}
EMPTY = "–"
RECORDS_LINK = "../records"
"""From `results/tables/` to `results/records/`."""


@dataclass(frozen=True)
class Entry:
    """One cell's lines; empty where a line has nothing to say."""

    printed: str
    ours: str
    baseline: str
    verdict: str
    records: tuple[str, ...]
    marked: bool

    def lines(self) -> list[str]:
        return [line for line in (self.printed or EMPTY, self.ours, self.baseline, self.verdict) if line]


@dataclass(frozen=True)
class Layout:
    """The frame in the paper's order."""

    rows: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str, str], ...]
    entries: dict[tuple[str, str], Entry]

    def entry(self, row: str, column: str) -> Entry | None:
        return self.entries.get((row, column))


def render(frame: pd.DataFrame, table: Table, format: Format = "table", width: int = 100) -> str:
    """Write the comparison in one of `FORMATS`.

    Args:
        frame: From `repro.harness.diff.diff`.
        table: For its title and name.
        format: "table" is plain text for a terminal, ``width`` characters wide.
        width: Of a terminal; wide tables are cut into blocks of columns.

    Raises:
        ValueError: There is no such format.
    """
    if format == "table":
        return _plain(frame, table, width)
    writers = {"markdown": _markdown, "csv": _csv, "json": _json, "latex": _latex}
    if format not in writers:
        raise ValueError(f"format {format!r}: known are {', '.join(FORMATS)}")
    return writers[format](frame, table)


def write(frame: pd.DataFrame, table: Table, folder: Path) -> list[Path]:
    """Write ``<paper>-<table>.<scale>.md`` and ``.csv`` into ``folder`` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{table.name.replace('/', '-')}.{_scale(frame)}"
    formats: list[tuple[str, Format]] = [("md", "markdown"), ("csv", "csv")]
    paths = [folder / f"{stem}.{ending}" for ending, _ in formats]
    for path, (_, format) in zip(paths, formats, strict=True):
        atomic.replace(path, render(frame, table, format))
    return paths


def layout(frame: pd.DataFrame, table: Table) -> Layout:
    """Arrange the frame's cells by row and column in the table's order, which rows with gaps do not show."""
    cells = _cells(frame)
    order = [column.id for column in table.columns]
    columns = {(cell["column"], cell["column_label"], cell["group"]) for cell in cells}
    return Layout(
        rows=tuple(dict.fromkeys((cell["row"], _row_label(cell)) for cell in cells)),
        columns=tuple(sorted(columns, key=lambda column: order.index(column[0]))),
        entries={(cell["row"], cell["column"]): _entry(cell) for cell in cells},
    )


def terminal(frame: pd.DataFrame, table: Table, width: int) -> Group:
    """The comparison for Rich: one table, or several under one another where ``width`` does not hold all columns."""
    from rich.console import Group
    from rich.text import Text

    arranged = layout(frame, table)
    blocks = [_rich_table(arranged, block) for block in _blocks(arranged, width)]
    notes = [*legend(frame), table_line(frame)]
    claims = [
        Text.assemble(_coloured(claim["verdict"]), f"  {claim['row_label']}: {claim['reason']}")
        for claim in _claims(frame)
    ]
    title = [Text("Claims", style="bold")] if claims else []
    small = [Text(note, style="dim") for note in notes]
    return Group(Text(_heading(frame, table), style="bold"), *blocks, *title, *claims, *small)


def legend(frame: pd.DataFrame) -> list[str]:
    """Sentences that say how to read a cell of this very frame."""
    scale = _scale(frame)
    cells = _cells(frame)
    baselines = sorted({cell["baseline"] for cell in cells if cell["baseline"]})
    lines = "as printed; ours, mean ± standard deviation over seeds (number of seeds)"
    lines += f"; difference to {', '.join(baselines)}" if baselines else ""
    notes = [f"Each cell: {lines}; verdict."]
    if scale != "paper":
        notes.append(f"Ours ran at scale {scale}: the printed numbers are shown, and nothing is judged by them.")
    words = [word for word in Verdict if any(cell["verdict"] == word for cell in cells)]
    notes.append("; ".join(f"{word}: {MEANING[word]}" for word in words) + ".")
    if any(cell["marks"] for cell in cells):
        marks = sorted({mark for cell in cells for mark in cell["marks"]})
        notes.append(f"†: {'; '.join(marks)}.")
    return notes


def _row_label(cell: dict[str, Any]) -> str:
    return ", ".join(part for part in (cell["row_group"], cell["row_label"]) if part)


def _entry(cell: dict[str, Any]) -> Entry:
    printed = cell["printed"]
    if cell["corrected"]:
        printed += f" → {cell['corrected']}"
    ours = ""
    if cell["n"] and not math.isnan(cell["mean"]):
        digits = _digits(cell)
        spread = "" if math.isnan(cell["std"]) else f" ± {cell['std']:.{digits}f}"
        mark = "†" if cell["marks"] else ""
        ours = f"{cell['mean']:.{digits}f}{spread} ({cell['n']}){mark}"
    baseline = (
        "" if math.isnan(cell["baseline_difference"]) else f"Δ {signed(cell['baseline_difference'], _digits(cell))}"
    )
    return Entry(printed, ours, baseline, cell["verdict"], tuple(cell["records"]), bool(cell["marks"]))


def _digits(cell: dict[str, Any]) -> int:
    """As many decimals as the paper prints, two where it prints none."""
    value = cell["printed"].split("±")[0].strip()
    return len(value.partition(".")[2]) if "." in value else 2


def _blocks(arranged: Layout, width: int) -> list[tuple[tuple[str, str, str], ...]]:
    """Cut the columns into runs that fit beside the row labels; at least one column each."""
    room = width - max((len(label) for _, label in arranged.rows), default=0) - 4
    blocks: list[list[tuple[str, str, str]]] = []
    left = 0
    for column in arranged.columns:
        need = _column_width(arranged, column) + 3
        if not blocks or need > left:
            blocks.append([])
            left = room
        blocks[-1].append(column)
        left -= need
    return [tuple(block) for block in blocks]


def _column_width(arranged: Layout, column: tuple[str, str, str]) -> int:
    entries = (arranged.entry(row, column[0]) for row, _ in arranged.rows)
    lines = [line for entry in entries if entry for line in entry.lines()]
    return max(len(line) for line in [*lines, column[1], column[2]])


def _rich_table(arranged: Layout, columns: Sequence[tuple[str, str, str]]) -> RichTable:
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(show_lines=True)
    grid.add_column("")
    for _, label, group in columns:
        grid.add_column(f"{group}\n{label}" if group else label, justify="right", no_wrap=True)
    for row, label in arranged.rows:
        cells = []
        for column, _, _ in columns:
            entry = arranged.entry(row, column)
            cells.append(_rich_cell(entry) if entry else Text(EMPTY, style="dim"))
        grid.add_row(label, *cells)
    return grid


def _rich_cell(entry: Entry) -> Any:
    from rich.text import Text

    styled = [(entry.printed or EMPTY, "dim"), (entry.ours, "bold"), (entry.baseline, ""), _coloured(entry.verdict)]
    return Text("\n").join(Text(text, style=style) for text, style in styled if text)


def _coloured(verdict: str) -> tuple[str, str]:
    return verdict, STYLES.get(Verdict(verdict), "dim")


def _plain(frame: pd.DataFrame, table: Table, width: int) -> str:
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(terminal(frame, table, width))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _markdown(frame: pd.DataFrame, table: Table) -> str:
    arranged = layout(frame, table)
    head = ["", *(f"{group} {label}".strip() for _, label, group in arranged.columns)]
    lines = [f"# {_heading(frame, table)}", "", _md_row(head), _md_row(["---"] + ["---:"] * len(arranged.columns))]
    for row, label in arranged.rows:
        entries = [arranged.entry(row, column) for column, _, _ in arranged.columns]
        lines.append(_md_row([label, *(_md_cell(entry) for entry in entries)]))
    lines += ["", table_line(frame), *_md_claims(frame), "", *(f"{note}  " for note in legend(frame)), ""]
    lines += [*_md_reasons(frame), ""]
    return "\n".join(lines)


def _md_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _md_cell(entry: Entry | None) -> str:
    if entry is None:
        return EMPTY
    lines = [entry.printed or EMPTY]
    lines += [f"**{entry.ours}**"] if entry.ours else []
    lines += [entry.baseline] if entry.baseline else []
    links = " ".join(f"[{n}]({RECORDS_LINK}/{name})" for n, name in enumerate(entry.records, 1))
    return "<br>".join([*lines, f"{entry.verdict} {links}".strip()])


def _md_claims(frame: pd.DataFrame) -> list[str]:
    claims = _claims(frame)
    lines = [f"- {claim['row_label']}: **{claim['verdict']}**. {_sentence(claim['reason'])}" for claim in claims]
    return ["", "## Claims", "", *lines] if lines else []


def _md_reasons(frame: pd.DataFrame) -> list[str]:
    """Why each judged, failed or unfinished cell has its verdict. What the word alone says is not said again."""
    telling = JUDGED | {Verdict.FAILED, Verdict.PARTIAL, Verdict.NOT_COMPARABLE}
    cells = [cell for cell in _cells(frame) if cell["verdict"] in telling]
    lines = [f"- {_row_label(c)}, {c['column_label']}: **{c['verdict']}**. {_sentence(c['reason'])}" for c in cells]
    return ["## Reasons", "", *lines] if lines else []


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _csv(frame: pd.DataFrame, table: Table) -> str:
    flat = frame.copy()
    for name in ("seeds", "values", "marks", "signatures", "records"):
        separator = "; " if name == "marks" else " "
        flat[name] = [
            separator.join(f"{one:g}" if isinstance(one, float) else str(one) for one in many) for many in flat[name]
        ]
    return flat.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def _json(frame: pd.DataFrame, table: Table) -> str:
    content = {
        "table": table.name,
        "title": table.title,
        "scale": _scale(frame),
        "line": table_line(frame),
        "exit_code": exit_code(frame),
        "cells": [_finite(cell) for cell in _cells(frame)],
        "claims": [_finite(claim) for claim in _claims(frame)],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(cell: dict[str, Any]) -> dict[str, Any]:
    """NaN and infinity as null, which JSON has instead."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {key: plain(value) for key, value in cell.items()}


def _latex(frame: pd.DataFrame, table: Table) -> str:
    arranged = layout(frame, table)
    body: list[latex.Line] = []
    for row, label in arranged.rows:
        entries = [arranged.entry(row, column) for column, _, _ in arranged.columns]
        body.append(latex.Line([label, *((entry.printed if entry else "") or EMPTY for entry in entries)]))
        body += [latex.Line([title, *texts], under=True) for title, texts in _latex_lines(entries)]
    columns = [(label, group) for _, label, group in arranged.columns]
    return latex.tabular(columns, body, caption=_heading(frame, table), notes=[table_line(frame), *legend(frame)])


def _latex_lines(entries: Sequence[Entry | None]) -> Iterator[tuple[str, list[str]]]:
    """The lines under a printed row, left out where no cell has anything to say."""
    for title, name in (("ours", "ours"), ("difference to baseline", "baseline"), ("verdict", "verdict")):
        texts = [getattr(entry, name) if entry else "" for entry in entries]
        if any(texts):
            yield title, texts


def _heading(frame: pd.DataFrame, table: Table) -> str:
    title = f": {table.title}" if table.title else ""
    return f"{table.name} at scale {_scale(frame)}{title}"


def _scale(frame: pd.DataFrame) -> str:
    return str(frame["scale"].iloc[0]) if len(frame) else "paper"


def _cells(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return _records(frame, "cell")


def _claims(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return _records(frame, "claim")


def _records(frame: pd.DataFrame, kind: str) -> list[dict[str, Any]]:
    return [
        {str(key): value for key, value in cell.items()} for cell in frame[frame["kind"] == kind].to_dict("records")
    ]
