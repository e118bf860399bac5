"""Write our own numbers into a table's file: the ``accepted:`` and ``accepted_reasons:`` blocks, and nothing else.

The file is edited as text, at the places where the YAML parser says that the blocks lie, because writing a parsed file
back would lose its comments, and the comments say where the numbers come from. The result is parsed again before it is
kept: everything outside the two blocks must mean what it meant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from repro.errors import TableError
from repro.harness import atomic
from repro.harness.verdict import INCOMPLETE

if TYPE_CHECKING:
    import pandas as pd

NUMBERS, REASONS = "accepted", "accepted_reasons"


def accept(path: Path, scale: str, frame: pd.DataFrame, reason: str, today: date | None = None) -> list[str]:
    """Make the results of ``frame`` the accepted numbers of one scale.

    Cells of the scale that the frame does not have, and all other scales, stay as they are.

    Args:
        path: The table's YAML file.
        scale: The scale that the frame was measured at.
        frame: From `repro.harness.diff.diff`.
        reason: Why the numbers change; it is kept in the file.
        today: The date to write down, today's if None.

    Returns:
        What changed, a line a cell: "detreg / 1%: 2.31 ± 0.40 (3), was 2.10 ± 0.30 (3)".

    Raises:
        TableError: The reason is empty, the frame is of another scale or has no finished cell, or a cell is unfinished.
    """
    numbers = _numbers(path, scale, frame, reason)
    text = _ended(path.read_text(encoding="utf-8"))
    before = yaml.safe_load(text)
    old = (before.get(NUMBERS) or {}).get(scale) or {}
    merged = {row: dict(cells) for row, cells in old.items()}
    changes = []
    for row, column, new in numbers:
        cells = merged.setdefault(_key(merged, row), {})
        key = _key(cells, column)
        if str(cells.get(key)) != new:
            changes.append(f"{row} / {column}: {new}, was {cells.get(key, 'not accepted')}")
            cells[key] = new
    if not changes:
        return []
    edited = _set_scale(text, scale, merged)
    edited = _add_reason(edited, scale, (today or date.today()).isoformat(), reason.strip())
    _check(path, before, edited, scale, merged)
    atomic.replace(path, edited)
    return changes


def _numbers(path: Path, scale: str, frame: pd.DataFrame, reason: str) -> list[tuple[str, str, str]]:
    """Row, column and text of each finished cell.

    Raises:
        TableError: See `accept`; all faults in one message.
    """
    cells = frame[frame["kind"] == "cell"]
    faults = [] if reason.strip() else ["a reason is needed: it is written beside the numbers"]
    faults += [f"the results are of scale {other}, not {scale}" for other in sorted(set(cells["scale"]) - {scale})]
    unfinished = cells[cells["verdict"].isin([word.value for word in INCOMPLETE]) & (cells["n"] > 0)]
    faults += [
        f"{row} / {column} is unfinished: {why}"
        for row, column, why in zip(unfinished["row"], unfinished["column"], unfinished["reason"], strict=True)
    ]
    done = [cell for cell in cells.to_dict("records") if cell["n"] and not math.isnan(cell["mean"])]
    if not done:
        faults.append("no cell has a result")
    if faults:
        raise TableError(f"{path}: nothing was accepted:\n" + "\n".join(f"  {fault}" for fault in faults))
    return [(cell["row"], cell["column"], number(cell["mean"], cell["std"], cell["n"])) for cell in done]


def number(mean: float, std: float, n: int) -> str:
    """An accepted number as the file holds it.

    >>> number(2.3149, 0.4, 3)
    '2.31 ± 0.40 (3)'
    """
    spread = "" if math.isnan(std) else f" ± {std:.2f}"
    return f"{mean:.2f}{spread} ({n})"


def _key(cells: Mapping[Any, Any], id: str) -> Any:
    """The key that stands for an id in the file, where labels may be used in its place; the id if none does."""
    return next((key for key in cells if "-".join(str(key).lower().split()) == id), id)


def _set_scale(text: str, scale: str, cells: dict[str, dict[str, str]]) -> str:
    """The text with one scale of the accepted numbers replaced, or the block appended."""
    new = _indent(_dump({scale: cells}), 2)
    block = _find(text, NUMBERS)
    if block is None:
        return text + f"\n{NUMBERS}:\n{new}"
    start, end, node = block
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        held = yaml.safe_load(text)[NUMBERS] or {}
        return text[:start] + f"{NUMBERS}:\n" + _indent(_dump({**held, scale: cells}), 2) + text[end:]
    for key, value in node.value:
        if key.value == scale:
            first = text.rfind("\n", 0, key.start_mark.index) + 1
            last = _trimmed(text, value.end_mark.index)
            return text[:first] + new + text[last:]
    return text[:end] + new + text[end:]


def _add_reason(text: str, scale: str, day: str, reason: str) -> str:
    """The text with one more entry at the end of the reasons, or with the block behind the accepted numbers."""
    entry = _indent(_dump([{"scale": scale, "date": day, "reason": reason}]), 2)
    block = _find(text, REASONS)
    if block is None:
        numbers = _find(text, NUMBERS)
        assert numbers is not None
        return text[: numbers[1]] + f"{REASONS}:\n{entry}" + text[numbers[1] :]
    start, end, node = block
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        column = node.start_mark.column
        return text[:end] + _indent(_dump([{"scale": scale, "date": day, "reason": reason}]), column) + text[end:]
    held = yaml.safe_load(text)[REASONS] or []
    entries = [*held, {"scale": scale, "date": day, "reason": reason}]
    return text[:start] + f"{REASONS}:\n" + _indent(_dump(entries), 2) + text[end:]


def _find(text: str, name: str) -> tuple[int, int, yaml.Node] | None:
    """Start and end of a top-level block in the text, the end behind its last line that is not a comment."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    for key, value in root.value:
        if key.value == name:
            return key.start_mark.index, _trimmed(text, value.end_mark.index), value
    return None


def _trimmed(text: str, end: int) -> int:
    """End of the last line before ``end`` that holds something; what follows belongs to the next block."""
    kept = text[:end].splitlines(keepends=True)
    if end < len(text) and kept and not kept[-1].endswith("\n"):
        if kept[-1].strip():  # the value ends within its line: a comment may follow it
            return text.index("\n", end) + 1 if "\n" in text[end:] else len(text)
        kept.pop()
    while kept and (not kept[-1].strip() or kept[-1].lstrip().startswith("#")):
        kept.pop()
    return sum(len(line) for line in kept)


def _check(path: Path, before: Any, edited: str, scale: str, cells: dict[str, dict[str, str]]) -> None:
    """Refuse an edit that means anything else than was meant; the file is not touched then."""
    after = yaml.safe_load(edited)
    own = (NUMBERS, REASONS)
    same = {key: value for key, value in before.items() if key not in own} == {
        key: value for key, value in after.items() if key not in own
    }
    numbers = {**(before.get(NUMBERS) or {}), scale: cells} == after.get(NUMBERS)
    reasons = (before.get(REASONS) or []) == after.get(REASONS, [])[:-1]
    if not (same and numbers and reasons):
        raise TableError(f"{path}: its {NUMBERS} block could not be edited safely; write the numbers by hand")


def _dump(content: Any) -> str:
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False, default_flow_style=False, width=1000)


def _indent(text: str, by: int) -> str:
    return "".join(" " * by + line for line in text.splitlines(keepends=True))


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"
