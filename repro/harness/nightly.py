"""Run what `benchmarks/nightly/<name>.yaml` lists and say whether an accepted number has left its band.

Nightly is the ordinary path: it plans, launches and compares as `repro run` and `repro diff` do, into folders of its
own, since the committed records would otherwise leave nothing to run. The band of a cell is the prediction interval of
as many new runs as were done, from the accepted mean, spread and count, never narrower than the file's floor. Either
side counts: a number that became better without a known reason is a change as well. Nothing that was meant to run may
be absent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repro.errors import ReproError, TableError, collect, did_you_mean
from repro.harness.accepted import accept
from repro.harness.statistics import Pool, Sample, pool, prediction_band
from repro.harness.verdict import INCOMPLETE, signed

if TYPE_CHECKING:
    import pandas as pd

    from repro.harness.table import Table

__all__ = ["Account", "Finding", "Nightly", "Task", "accept", "load", "names", "nightly", "workplace"]

Runner = Callable[["Task", "Nightly", Path], "tuple[Table, pd.DataFrame]"]
"""Plans, launches and waits for one task in a folder of its own, and returns the table and its comparison."""


class Task(BaseModel):
    """One table at one scale."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    table: str
    scale: str
    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None


class Nightly(BaseModel):
    """One file of `benchmarks/nightly/`.

    Attributes:
        tables: What runs, in order.
        cluster: Where, a file of `slurm/`.
        minutes: Time for all; a task that would start later is not started, and is missing.
        floor: Least half-width of a band, in the metric's unit.
        confidence: Share of healthy results that a band holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    tables: tuple[Task, ...] = Field(min_length=1)
    cluster: str = "local"
    minutes: float = Field(default=30, gt=0)
    floor: float = Field(default=0.0, ge=0)
    confidence: float = Field(default=0.99, gt=0.5, lt=1)


@dataclass(frozen=True)
class Finding:
    """One cell of one task. ``word`` is "inside", "outside", "new" (nothing accepted yet), "missing" or "failed"."""

    table: str
    scale: str
    row: str
    column: str
    word: str
    text: str

    @property
    def bad(self) -> bool:
        return self.word in ("outside", "missing", "failed")


@dataclass(frozen=True)
class Account:
    """What a nightly run found."""

    name: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 if every cell is inside its band or has none yet, else 1."""
        return 1 if any(finding.bad for finding in self.findings) else 0

    def text(self) -> str:
        """The account for a reader: the bad news first, then the rest, then one line for the whole."""
        ordered = sorted(self.findings, key=lambda finding: not finding.bad)
        lines = [f"{one.word:8} {one.table}/{one.row}/{one.column} ({one.scale}): {one.text}" for one in ordered]
        bad = sum(finding.bad for finding in self.findings)
        result = (
            f"{bad} of {len(self.findings)} cells need a look" if bad else f"all {len(self.findings)} cells are well"
        )
        return "\n".join([*lines, f"nightly {self.name}: {result}, after {self.seconds / 60:.0f} minutes"])


def names(folder: Path) -> list[str]:
    """Names of the nightly files in ``folder``."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(name: str, folder: Path) -> Nightly:
    """Read ``<folder>/<name>.yaml``.

    Raises:
        TableError: There is no such file, or it has faults; all are named.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise TableError(f"there is no nightly list {path}. {did_you_mean(name, names(folder))}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise TableError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise TableError(f"{path}: keys and values were expected, not {type(content).__name__}")
    faults: list[str] = []
    try:
        found = Nightly.model_validate({"name": name, **content})
    except ValidationError as error:
        faults = [_fault(one) for one in error.errors()]
    collect(faults, str(path), TableError)
    return found


def workplace(name: str, root: Path, now: datetime | None = None) -> Path:
    """A folder for one night's output, records and plans; the folder of each night is kept until it is removed."""
    return root / "nightly" / name / (now or datetime.now()).strftime("%Y-%m-%dT%H-%M-%S")


def nightly(listed: Nightly, runner: Runner, folder: Path, clock: Callable[[], float] = time.monotonic) -> Account:
    """Run a nightly list and compare every cell with its accepted number.

    Args:
        listed: From `load`.
        runner: Plans, launches and compares one task; the command line hands it in.
        folder: Empty place for outputs and records, from `workplace`.
        clock: Seconds, from any start.

    Returns:
        The account; its ``exit_code`` is what the command ends with.
    """
    start = clock()
    findings: list[Finding] = []
    for task in listed.tables:
        spent = (clock() - start) / 60
        if spent >= listed.minutes:
            text = f"not started: {spent:.0f} of {listed.minutes:g} minutes are spent"
            findings.append(Finding(task.table, task.scale, "*", "*", "missing", text))
            continue
        try:
            table, frame = runner(task, listed, folder)
        except ReproError as error:  # the other tables still tell something
            findings.append(Finding(task.table, task.scale, "*", "*", "failed", str(error)))
            continue
        findings += findings_of(table, frame, task, listed)
    return Account(listed.name, tuple(findings), clock() - start)


def findings_of(table: Table, frame: pd.DataFrame, task: Task, listed: Nightly) -> list[Finding]:
    """Set each cell of a comparison against the band of its accepted number. Cells not planned are left out."""
    cells = [cell for cell in frame.to_dict("records") if cell["kind"] == "cell" and cell["signatures"]]
    if not cells:
        return [Finding(task.table, task.scale, "*", "*", "missing", "no cell was planned")]
    accepted = {
        (row, column): Sample(number.value, number.spread, number.runs or 1)
        for row, numbers in table.accepted.get(task.scale, {}).items()
        for column, number in numbers.items()
    }
    return [_finding({str(key): value for key, value in cell.items()}, accepted, cells, listed) for cell in cells]


def _finding(
    cell: dict[str, Any], accepted: dict[tuple[str, str], Sample], cells: list[Any], listed: Nightly
) -> Finding:
    def found(word: str, text: str) -> Finding:
        return Finding(cell["table"], cell["scale"], cell["row"], cell["column"], word, text)

    if cell["verdict"] in INCOMPLETE:
        return found("failed" if cell["verdict"] == "failed" else "missing", cell["reason"])
    if math.isnan(cell["mean"]):
        return found("missing", cell["reason"])
    ours = f"{cell['mean']:.2f} ({cell['n']})"
    reference = accepted.get((cell["row"], cell["column"]))
    if reference is None:
        return found("new", f"{ours}; no number is accepted yet")
    spread = _family(cell["metric"], cells, accepted)
    low, high = prediction_band(reference, cell["n"], spread, listed.floor, listed.confidence)
    band = f"band {low:.2f}…{high:.2f} around {reference.mean:.2f} ({reference.n})"
    if low <= cell["mean"] <= high:
        return found("inside", f"{ours} in {band}")
    return found("outside", f"{ours}, {signed(cell['mean'] - reference.mean)}, left the {band}")


def _family(metric: str, cells: list[Any], accepted: dict[tuple[str, str], Sample]) -> Pool | None:
    """Spread pooled over the accepted numbers of the cells with the same metric."""
    family = [(cell["row"], cell["column"]) for cell in cells if cell["metric"] == metric]
    return pool(accepted[key] for key in family if key in accepted)


def _fault(error: Any) -> str:
    """One fault of pydantic's as where, what and the nearest right key."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        model = Task if error["loc"][0] == "tables" else Nightly
        return f"{where}: there is no such key. {did_you_mean(str(error['loc'][-1]), model.model_fields)}"
    return f"{where}: {error['msg']}"
