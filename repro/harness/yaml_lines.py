"""YAML for people: plain values, and for each of them the line and the text that stand in the file.

Differs from ``yaml.safe_load`` where that is silent or surprising. A key written twice is a fault (PyYAML takes the
last one); keys are text as written, so a column called ``10`` or ``no`` keeps its name; ``1e-4`` is a number, as in
YAML 1.2; and the digits of a number are kept beside it, since ``26.30`` and ``26.3`` are different claims.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from repro.errors import ReproError
from repro.harness.places import shown

Keys = tuple[str, ...]


@dataclass
class Document:
    """A parsed file.

    Attributes:
        values: The content: dictionaries with text keys, lists and scalars.
        lines: Path of keys (list items by their number) to its line, from 1.
        texts: Path of keys to a scalar as written.
        faults: Keys written twice: line, and what is wrong there.
    """

    values: Any = None
    lines: dict[Keys, int] = field(default_factory=dict)
    texts: dict[Keys, str] = field(default_factory=dict)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def line(self, *keys: str) -> int:
        """Return the line of a path of keys, or of the nearest part of it that the file has."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 1)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's floats."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def parse(path: Path, error: type[ReproError]) -> Document:
    """Read a YAML file.

    Raises:
        error: The file cannot be read or is not YAML: file, line and column are named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{shown(path)} cannot be read: {problem}") from problem
    document = Document()
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        document.values = None if node is None else _values(loader, node, (), document)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        what = ", ".join(filter(None, [problem.context, problem.problem]))
        raise error(f"{shown(path)}{where}: not YAML: {what}") from problem
    except (yaml.YAMLError, ValueError) as problem:
        raise error(f"{shown(path)}: not YAML: {problem}") from problem
    return document


def _values(loader: _Loader, node: yaml.Node, at: Keys, document: Document) -> Any:
    document.lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in mapping:
                first = document.lines[(*at, key)]
                document.faults.append((line, f"{'.'.join((*at, key))} is written twice, first in line {first}"))
                continue
            document.lines[(*at, key)] = line
            mapping[key] = _values(loader, value_node, (*at, key), document)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_values(loader, item, (*at, str(index)), document) for index, item in enumerate(node.value)]
    document.texts[at] = str(node.value)
    return loader.construct_object(node)
