"""What a stage will cost: a range with its basis, and never an invention.

========  ==========================================================================================================
basis     the range is
========  ==========================================================================================================
measured  what records of the same recipe took (other seeds), or of one that differs in its length only, in proportion
paper     quoted: ``gpu_hours`` of the table's stage, with its source
scaled    quoted for another run of the same work an image, in proportion to the images seen; or images over a quoted
          speed. The formula is shown
computed  ``flops`` of the table's stage over the peak rate and the stated range of utilisation
unknown   nothing: nobody measured, printed or counted it
========  ==========================================================================================================

What is quoted stands under ``cost:`` of a table's stage, always with a ``source``::

    {gpu_hours: [325, 384], source: …}  # for this very stage
    {gpu_hours: [325, 384], of: {epochs: 50, images: 118287}, images: 16551, source: …}  # for that run, scaled
    {images_per_second: [15.0, 19.4], images: 5000, source: …}  # of a GPU; of a core with on: CPU
    {flops: 3.6e+15, peak_flops: 1.0e+12, utilisation: [0.25, 0.5], source: …}

``images`` is how many the stage's data set has, that of the quoted run where it is left out; the stage's epochs and the
part of the images that it sees (``data.percent`` or ``data.images``), come from its recipe. Images seen are compared,
and not steps, since a step costs as its batch does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from repro.harness import library
from repro.harness.library import Library
from repro.harness.record import Record
from repro.harness.table import KINDS

if TYPE_CHECKING:
    from repro.harness.plan import Stage

Basis = Literal["measured", "paper", "scaled", "computed", "unknown"]

GPU, CPU = "GPU-hours", "hours on a CPU"

LENGTH = ("train.epochs", "train.iterations", "train.lr_drops", "data.percent", "data.images")
"""Settings that change how long a stage runs and nothing of what a step costs."""


@dataclass(frozen=True)
class Cost:
    """A range in ``unit``; both ends are None where the basis is unknown.

    Attributes:
        source: Where it comes from.
        formula: What was done to the source's figure; empty where it is taken as it is.
    """

    basis: Basis
    low: float | None = None
    high: float | None = None
    unit: str = GPU
    source: str = ""
    formula: str = ""


UNKNOWN = Cost("unknown")


@dataclass(frozen=True)
class Item:
    """Stages of one kind whose cost is the same for the same reason: a line of a bill.

    Attributes:
        each: Cost of one of them.
        stages: How many they are.
    """

    kind: str
    each: Cost
    stages: int

    @property
    def low(self) -> float:
        """Lower end for all of them together; 0 where it is unknown."""
        return self.stages * (self.each.low or 0.0)

    @property
    def high(self) -> float:
        """Upper end for all of them together; 0 where it is unknown."""
        return self.stages * (self.each.high or 0.0)


@dataclass(frozen=True)
class Total:
    """Items of one unit, together."""

    items: tuple[Item, ...]

    @property
    def low(self) -> float:
        """Lower end of the sum."""
        return sum(item.low for item in self.items)

    @property
    def high(self) -> float:
        """Upper end of the sum."""
        return sum(item.high for item in self.items)

    def by(self, key: Literal["kind", "basis"]) -> dict[str, Total]:
        """Return the same for each kind of stage, or for each basis."""
        found: dict[str, list[Item]] = {}
        for item in self.items:
            found.setdefault(item.kind if key == "kind" else item.each.basis, []).append(item)
        return {name: Total(tuple(some)) for name, some in found.items()}


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
    said = stage.cost or stage.recipe.get("cost") or {}
    return known.costs[key] or _quoted(said, known.about(stage.recipe)[1]) or UNKNOWN


def bill(stages: Iterable[Stage], records: Path | Library) -> list[Item]:
    """Return what stages cost, by kind and reason; kinds in the order in which they run."""
    known = library.load(records) if isinstance(records, Path) else records
    counts = Counter((stage.kind, cost(stage, known)) for stage in stages)
    items = [Item(kind, each, count) for (kind, each), count in counts.items()]
    return sorted(items, key=lambda item: KINDS.index(item.kind))


def total(items: Iterable[Item]) -> dict[str, Total]:
    """Sum a bill by unit, over all that is known; hours of a GPU and of a CPU are never added up."""
    found: dict[str, list[Item]] = {}
    for item in items:
        if item.each.basis != "unknown":
            found.setdefault(item.each.unit, []).append(item)
    return {unit: Total(tuple(known)) for unit, known in found.items()}


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
    """Return the length of a training in its unit: steps, images seen, or epochs of the whole data set."""
    steps, epochs, images = (settings.get(name) for name in ("train.iterations", "train.epochs", "data.images"))
    if steps is not None:
        return "steps", float(steps)
    if epochs is None:
        return None
    if images is not None:
        return "images", float(epochs) * float(images)
    return "epochs", float(epochs) * float(settings.get("data.percent") or 100) / 100


def _range(found: list[tuple[float, Record]], what: str) -> Cost:
    """Return the range over records; those on GPUs count before those on a CPU, which say nothing about them."""
    on_gpus = [(factor, one) for factor, one in found if one.hardware.get("gpus")]
    hours = [
        factor * one.seconds * max(int(one.hardware.get("gpus") or 0), 1) / 3600 for factor, one in on_gpus or found
    ]
    source = f"{len(hours)} record{'s' if len(hours) != 1 else ''} {what}"
    return Cost("measured", min(hours), max(hours), GPU if on_gpus else CPU, source)


def _quoted(said: Mapping[str, Any], settings: Mapping[str, Any]) -> Cost | None:
    if said.get("gpu_hours"):
        if said.get("of"):
            return _scaled(said, settings)
        low, high = said["gpu_hours"]
        return Cost("paper", float(low), float(high), GPU, str(said["source"]))
    if said.get("images_per_second"):
        slow, fast = (int(said["images"]) / float(rate) / 3600 for rate in said["images_per_second"])
        formula = f"{said['images']:,} images at {_range_text(said['images_per_second'])} a second"
        return Cost("scaled", fast, slow, CPU if said.get("on") == "CPU" else GPU, str(said["source"]), formula)
    if said.get("flops"):
        slow, fast = said["utilisation"]
        hours = float(said["flops"]) / float(said["peak_flops"]) / 3600
        return Cost("computed", hours / float(fast), hours / float(slow), GPU, str(said["source"]))
    return None


def _scaled(said: Mapping[str, Any], settings: Mapping[str, Any]) -> Cost | None:
    """Return the cost in proportion to the images seen; None for a stage whose length is not given in epochs."""
    epochs, percent, drawn = (settings.get(name) for name in ("train.epochs", "data.percent", "data.images"))
    if epochs is None or settings.get("train.iterations") is not None:
        return None
    run, source = said["of"], str(said["source"])
    images, percent = (drawn, 100) if drawn is not None else (int(said.get("images") or run["images"]), percent)
    share = epochs * images * (100 if percent is None else percent) / 100 / (run["epochs"] * run["images"])
    low, high = (float(hours) for hours in said["gpu_hours"])
    if share == 1:
        return Cost("paper", low, high, GPU, source)
    part = "" if percent in (None, 100) else f"{percent:g} % of "
    here = f"{epochs:,} epochs × {part}{images:,} images"
    there = f"{run['epochs']:,} epochs × {run['images']:,} images"
    formula = f"{_range_text(said['gpu_hours'])} × ({here}) ÷ ({there})"
    return Cost("scaled", low * share, high * share, GPU, source, formula)


def _range_text(ends: Iterable[float]) -> str:
    low, high = ends
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
