"""What a cell is set against, and what spread may be assumed where a cell has none of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repro.harness.statistics import Pool, Sample, pool

if TYPE_CHECKING:
    from repro.harness.table import Column, Number, Row, Table


@dataclass(frozen=True)
class Reference:
    """A number to compare with.

    Attributes:
        sample: Its mean, its spread over runs if known, and the number of runs behind it (1 if not stated).
        half_unit: Half a unit of its last digit as written.
        text: As written.
        name: What it is: "paper", "corrected" or "accepted".
    """

    sample: Sample
    half_unit: float
    text: str
    name: str

    @property
    def whose(self) -> str:
        """The runs behind it, in words: "5 in the paper"."""
        return {"paper": "in the paper", "corrected": "in the correction"}.get(self.name, self.name)

    @classmethod
    def of(cls, number: Number, name: str) -> Reference:
        return cls(sample(number), number.half_unit, number.text, name)


def sample(number: Number) -> Sample:
    """Summary of a written number. A spread over an unknown number of runs cannot be weighed and counts as none."""
    runs = number.runs or 1
    return Sample(number.value, number.spread if runs >= 2 else None, runs)


def printed(row: Row, column: Column) -> Reference | None:
    """The paper's number; the authors' correction, where there is one, since they no longer stand by the print."""
    if column.id in row.corrected:
        return Reference.of(row.corrected[column.id], "corrected")
    return Reference.of(row.paper[column.id], "paper") if column.id in row.paper else None


def accepted(table: Table, scale: str, row: Row, column: Column) -> Reference | None:
    """Our own number of a scale, None if none was accepted."""
    number = table.accepted.get(scale, {}).get(row.id, {}).get(column.id)
    return Reference.of(number, "accepted") if number is not None else None


def spread(ours: Iterable[Sample], references: Iterable[Reference | None]) -> Pool | None:
    """Spread over runs of a family of cells: ours over seeds and, only where we have none, that of the references."""
    return pool(ours) or pool(reference.sample for reference in references if reference is not None)
