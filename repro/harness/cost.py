"""What a stage will cost: a range with its basis, and never an invention.

========  ==========================================================================================================
basis     the range is
========  ==========================================================================================================
measured  what records of the same recipe took (other seeds), or of one that differs in its length only, in proportion
paper     quoted: ``gpu_hours`` of the table's stage, with its source
computed  ``flops`` of the table's stage over the peak rate and the stated range of utilisation
unknown   nothing: nobody measured, printed or counted it
========  ==========================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from repro.harness import library
from repro.harness.library import Library
from repro.harness.record import Record

if TYPE_CHECKING:
    from repro.harness.plan import Stage

Basis = Literal["measured", "paper", "computed", "unknown"]

GPU, CPU = "GPU-hours", "hours on a CPU"

LENGTH = ("train.epochs", "train.iterations", "train.lr_drops", "data.percent")
"""Settings that change how long a stage runs and nothing of what a step costs."""


@dataclass(frozen=True)
class Cost:
    """A range in ``unit``; both ends are None where the basis is unknown. ``source`` says where it comes from."""

    basis: Basis
    low: float | None = None
    high: float | None = None
    unit: str = GPU
    source: str = ""


UNKNOWN = Cost("unknown")


def cost(stage: Stage, records: Path | Library) -> Cost:
    """Return what a stage will cost, on the best basis there is.

    Args:
        stage: A stage of a plan.
        records: Folder of the records, or what was read from it.
    """
    known = library.load(records) if isinstance(records, Path) else records
    key = stage.kind, known.about(stage.recipe)[0]
    if key not in known.costs:
        known.costs[key] = _measured(stage, known)
    return known.costs[key] or _quoted(stage.cost or stage.recipe.get("cost") or {}) or UNKNOWN


def total(costs: Iterable[Cost]) -> dict[tuple[Basis, str], tuple[int, float, float]]:
    """Return how many stages, and their summed range, for each basis and unit; bases are never added up."""
    sums: dict[tuple[Basis, str], tuple[int, float, float]] = {}
    for one in costs:
        count, low, high = sums.get((one.basis, one.unit), (0, 0.0, 0.0))
        sums[one.basis, one.unit] = count + 1, low + (one.low or 0.0), high + (one.high or 0.0)
    return sums


def _measured(stage: Stage, known: Library) -> Cost | None:
    same: list[tuple[float, Record]] = []
    longer_or_shorter: list[tuple[float, Record]] = []
    own, settings = known.about(stage.recipe)
    for group in known.of(stage.kind):
        records = [one for one in group.records if one.origin == "retrained" and one.seconds > 0]
        if group.digest == own:
            same += [(1.0, one) for one in records]
        elif not same and (factor := _proportion(group.settings, settings)) is not None:
            longer_or_shorter += [(factor, one) for one in records]
    if same:
        return _range(same, "of this recipe")
    return _range(longer_or_shorter, "of another length, in proportion") if longer_or_shorter else None


def _proportion(there: Mapping[str, Any], here: Mapping[str, Any]) -> float | None:
    """Return how much longer ``here`` runs than ``there``; None if they differ in more than length."""
    names = there.keys() | here.keys()
    if any(there.get(name) != here.get(name) for name in names if name not in LENGTH):
        return None
    lengths = _length(there), _length(here)
    if lengths[0] is None or lengths[1] is None or lengths[0][0] != lengths[1][0]:
        return None
    return lengths[1][1] / lengths[0][1] if lengths[0][1] else None


def _length(settings: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return the length of a training in its unit: steps, or epochs of the whole data set."""
    steps, epochs = settings.get("train.iterations"), settings.get("train.epochs")
    if steps is not None:
        return "steps", float(steps)
    return None if epochs is None else ("epochs", float(epochs) * float(settings.get("data.percent") or 100) / 100)


def _range(found: list[tuple[float, Record]], what: str) -> Cost:
    """Return the range over records; those on GPUs count before those on a CPU, which say nothing about them."""
    on_gpus = [(factor, one) for factor, one in found if one.hardware.get("gpus")]
    hours = [
        factor * one.seconds * max(int(one.hardware.get("gpus") or 0), 1) / 3600 for factor, one in on_gpus or found
    ]
    source = f"{len(hours)} record{'s' if len(hours) != 1 else ''} {what}"
    return Cost("measured", min(hours), max(hours), GPU if on_gpus else CPU, source)


def _quoted(said: Mapping[str, Any]) -> Cost | None:
    if said.get("gpu_hours"):
        low, high = said["gpu_hours"]
        return Cost("paper", float(low), float(high), GPU, str(said["source"]))
    if said.get("flops"):
        slow, fast = said["utilisation"]
        hours = float(said["flops"]) / float(said["peak_flops"]) / 3600
        return Cost("computed", hours / float(fast), hours / float(slow), GPU, str(said["source"]))
    return None
