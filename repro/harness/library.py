"""All records of a folder, in groups of equal recipes: what planning asks for the nearest stage or for the cost.

Everything else looks records up by name. This reads the whole folder, once for each state of it, and compares distinct
recipes only: thousands of records share a handful of them.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.errors import RecordError
from repro.harness import record
from repro.harness.record import Record
from repro.harness.signature import canonical, digest, flatten


@dataclass
class Group:
    """Records of one kind and recipe, with two ways to find one.

    Attributes:
        settings: What matters in the recipe: dotted key to value.
        by_parents: Signatures of the parents to the records that have them.
        by_seed: Seed to records.
    """

    kind: str
    scale: str
    digest: str
    settings: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    by_parents: dict[tuple[str, ...], list[Record]] = field(default_factory=lambda: defaultdict(list))
    by_seed: dict[int, list[Record]] = field(default_factory=lambda: defaultdict(list))

    def add(self, one: Record) -> None:
        """Add a record."""
        self.records.append(one)
        self.by_parents[tuple(one.parents.values())].append(one)
        self.by_seed[one.seed].append(one)


@dataclass
class Library:
    """Groups by kind, in the order of their first record's signature."""

    groups: dict[str, list[Group]] = field(default_factory=lambda: defaultdict(list))
    costs: dict[tuple[str, str], Any] = field(default_factory=dict)  # kept by `repro.harness.cost`
    _known: dict[int, tuple[Mapping[str, Any], str, dict[str, Any]]] = field(default_factory=dict)

    def about(self, recipe: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return a recipe's digest and settings, worked out once: the stages of a plan share the very same recipes."""
        if id(recipe) not in self._known:
            self._known[id(recipe)] = recipe, digest(recipe), settings_of(recipe)  # kept, so that its id stays its own
        return self._known[id(recipe)][1:]

    def of(self, kind: str) -> list[Group]:
        """Return the groups of a kind."""
        return self.groups.get(kind, [])


def load(folder: Path) -> Library:
    """Return the records of a folder. Broken ones are left out: `repro.harness.record.verify` names them."""
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        return Library()
    return _load(folder, changed)


@functools.lru_cache(maxsize=4)
def _load(folder: Path, changed: int) -> Library:
    groups: dict[tuple[str, str, str], Group] = {}
    digests: dict[str, str] = {}  # by the recipe as written: many records, few recipes
    for signature in sorted({path.name.partition(".")[0] for path in folder.glob("[!.]*.json")}):
        try:
            found = record.read(signature, folder)
        except RecordError:
            continue
        for one in found:
            text = json.dumps(one.recipe, sort_keys=True)
            if text not in digests:
                digests[text] = digest(one.recipe)
            key = (one.kind, one.scale, digests[text])
            if key not in groups:
                groups[key] = Group(*key, settings_of(one.recipe))
            groups[key].add(one)
    library = Library()
    for group in groups.values():
        library.groups[group.kind].append(group)
    return library


def settings_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what matters in a recipe: dotted key to value."""
    return flatten(canonical(recipe))
