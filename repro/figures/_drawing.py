"""What every kind of drawing has in common: settings that are checked, numbers that are kept, a picture of them."""

from __future__ import annotations

import csv
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from repro.figures._source import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Reads = Literal["scores", "proposals", "model", "boxes"]


@dataclass(frozen=True)
class Data:
    """The numbers behind a picture.

    Attributes:
        rows: What the CSV file holds, one dictionary a line.
        arrays: What does not fit into lines (maps, pixels), by name.
        remarks: What whoever looks at the picture must know, such as cells that are missing.
    """

    rows: list[dict[str, Any]]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def paths(self, stem: Path) -> list[Path]:
        """Return what `write` writes: ``<stem>.csv``, ``<stem>.json``, and ``<stem>.npz`` where there are arrays."""
        ends = ["csv", "json", "npz"] if self.arrays else ["csv", "json"]
        return [stem.with_name(f"{stem.name}.{end}") for end in ends]

    def write(self, stem: Path, about: Mapping[str, Any]) -> None:
        """Write lines, arrays, and beside them what is known ``about`` where they are from."""
        lines, said, *arrays = self.paths(stem)
        with lines.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in self.rows for key in row)))
            writer.writeheader()
            writer.writerows(self.rows)
        said.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for path in arrays:
            np.savez_compressed(path, **self.arrays)  # type: ignore[arg-type]


class Drawing(BaseModel):
    """One kind of drawing; its fields are its settings.

    Attributes:
        reads: What it needs of each cell: its score, the proposals' file, the weights of its detector, or whichever of
            the two comes last.
        partial: Whether it is worth drawing from some of its cells.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reads: ClassVar[tuple[Reads, ...]]
    partial: ClassVar[bool] = False

    @abstractmethod
    def gather(self, sources: Sequence[Source]) -> Data:
        """Work out the numbers.

        Raises:
            FigureError: there is nothing to draw.
        """

    @abstractmethod
    def draw(self, data: Data) -> Figure:
        """Draw them; called within the style of `repro.figures._paper`."""
