"""Why a stage of a plan has to run: what distinguishes it from the nearest one that was recorded.

Nearest is the recorded stage of the same kind and scale with the fewest differing things: keys of the recipe, parents,
data sets, the seed. A stage that differs in a parent alone is explained by that parent's own line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from repro.harness import library
from repro.harness.library import Group, Library
from repro.harness.record import Record

if TYPE_CHECKING:
    from repro.harness.plan import Plan, Stage

SHOWN = 4
"""Differences that are spelt out; the rest is counted."""

ABSENT = "absent"


class State(Protocol):
    """What of a stage's state matters here (`repro.harness.state.StageState`)."""

    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True)
class Explanation:
    """Why one stage runs, or why not.

    Attributes:
        state: As surveyed.
        reason: In one line, for people.
        nearest: Signature of the nearest recorded stage; empty without one, and for a stage that need not run.
        differing: What differs there: dotted keys, "seed", "parent <name>", "data set <name>".
    """

    signature: str
    state: str
    reason: str
    nearest: str = ""
    differing: tuple[str, ...] = ()


def explain(plan: Plan, records: Path | Library, states: Mapping[str, State]) -> list[Explanation]:
    """Explain every stage of a plan, in its order.

    Args:
        plan: The plan.
        records: Folder of the records, or what was read from it.
        states: State of each stage, by signature.
    """
    known = library.load(records) if isinstance(records, Path) else records
    search = _Search(plan, known)
    return [search.explain(stage, states.get(stage.signature)) for stage in plan.stages.values()]


Difference = tuple[str, Any, Any]
"""What differs, its value there and its value here."""


class _Search:
    """Looks for the nearest records of one plan's stages; compares each pair of recipes once."""

    def __init__(self, plan: Plan, known: Library) -> None:
        self.plan, self.known = plan, known
        self._compared: dict[tuple[str, str], list[Difference]] = {}

    def explain(self, stage: Stage, state: State | None) -> Explanation:
        word = state.state if state is not None else "to run"
        if state is not None and word != "to run":
            return Explanation(stage.signature, word, state.reason or word)
        nearest, differences = self.nearest(stage)
        if nearest is None:
            reason = f"no {stage.kind} is recorded at scale {stage.scale}"
            return Explanation(stage.signature, word, reason)
        shown = [_said(*one) for one in differences[:SHOWN]]
        more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        name = f"{nearest.label} ({nearest.signature})"
        if not differences:
            reason = f"it is recorded as {name}, by other rules of naming"
        else:
            reason = f"nearest recorded: {name}; differs in {', '.join(shown)}{more}"
        return Explanation(stage.signature, word, reason, nearest.signature, tuple(one[0] for one in differences))

    def nearest(self, stage: Stage) -> tuple[Record | None, list[Difference]]:
        """Return the nearest record and what differs; None and nothing if no stage of the kind is recorded."""
        best: Record | None = None
        least: list[Difference] = []
        for group in self.known.of(stage.kind):
            if group.scale != stage.scale:
                continue
            recipe = self.compared(stage, group)
            if best is not None and len(recipe) >= len(least):
                continue
            found = _closest(stage, group)
            differences = recipe + self.surroundings(stage, found)
            if best is None or len(differences) < len(least):
                best, least = found, differences
        return best, least

    def compared(self, stage: Stage, group: Group) -> list[Difference]:
        """Return where the recipes differ."""
        own, settings = self.known.about(stage.recipe)
        if (key := (own, group.digest)) not in self._compared:
            there = group.settings
            keys = [*settings, *(name for name in there if name not in settings)] if own != group.digest else []
            pairs = [(name, there.get(name, ABSENT), settings.get(name, ABSENT)) for name in keys]
            self._compared[key] = [one for one in pairs if one[1] != one[2] or type(one[1]) is not type(one[2])]
        return self._compared[key]

    def surroundings(self, stage: Stage, found: Record) -> list[Difference]:
        """Return what differs beside the recipe."""
        differences: list[Difference] = []
        for noun, there, here in (
            ("data set", found.datasets, stage.datasets),
            ("parent", found.parents, stage.parents),
        ):
            differences += [
                (f"{noun} {name}", there.get(name, ABSENT), here.get(name, ABSENT))
                for name in {**there, **here}
                if there.get(name) != here.get(name)
            ]
        if found.seed != stage.seed:
            differences.append(("seed", found.seed, stage.seed))
        return differences


def _closest(stage: Stage, group: Group) -> Record:
    """Return a record of a group with the stage's parents and seed, as far as there is one."""
    parents = tuple(stage.parents.values())
    with_parents = group.by_parents.get(parents, [])
    same_seed = [one for one in with_parents if one.seed == stage.seed]
    return (same_seed or with_parents or group.by_seed.get(stage.seed) or group.records)[0]


def _said(key: str, there: Any, here: Any) -> str:
    return f"{key} ({there!s:.40} there, {here!s:.40} here)"
