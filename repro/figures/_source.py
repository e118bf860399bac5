"""What is left of a cell when its stages are done: scores, proposals, a trained detector, and the images it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import FigureError, StageError
from repro.harness import record
from repro.harness.availability import verified
from repro.harness.measured import Records, score_of
from repro.harness.plan import Stage
from repro.harness.table import Column, Row

if TYPE_CHECKING:
    from torch import nn

    from repro.data.proposals import Proposals
    from repro.harness.record import Record

DETECTORS = ("pretrain", "train", "finetune")
KINDS = {
    "model": DETECTORS,
    "proposals": ("propose",),
    "boxes": (*DETECTORS, "propose"),
    "images": ("evaluate", "propose"),
}
"""What is read of a cell to the kinds of stage that leave it; the last such stage counts."""


def stage_of(what: str, stages: Sequence[Stage]) -> Stage:
    """Return the stage of a cell that leaves ``what``, a key of `KINDS`.

    Raises:
        FigureError: the cell has none.
    """
    for stage in reversed(stages):
        if stage.kind in KINDS[what]:
            return stage
    kinds = " or ".join(KINDS[what])
    raise FigureError(f"the drawing needs {what}, so each cell needs a stage {kinds}; one ends in {stages[-1].label}")


@dataclass(frozen=True)
class Source:
    """One cell with one seed.

    Attributes:
        metric: Of the cell's score; empty where the figure shows none.
        stages: In order.
        output_root: Where all stages keep their folders.
        records: Folder of the records.
        device: Torch's name of it; None takes a GPU where there is one.
        baseline: Whether the others are set against this row.
    """

    row: Row
    column: Column
    seed: int
    metric: str
    stages: tuple[Stage, ...]
    output_root: Path
    records: Path
    device: str | None = None
    baseline: bool = False

    @property
    def label(self) -> str:
        """What the row is called in a picture."""
        return self.row.label

    @property
    def scale(self) -> str:
        """The scale that its stages ran at."""
        return self.stages[-1].scale

    def score(self) -> float | None:
        """Return the cell's score; None where it is not recorded."""
        found = Records(self.records).best(self.stages[-1].signature)
        return None if found is None else score_of(found, self.metric)

    def used(self, reads: Sequence[str]) -> dict[str, Record | None]:
        """Return the records of the stages that are read, by signature."""
        stages = [self.stages[-1] if what == "scores" else stage_of(what, self.stages) for what in reads]
        return {stage.signature: record.latest(stage.signature, self.records) for stage in stages}

    def folder(self, what: str) -> Path:
        """Return the folder of the stage that leaves ``what``, its files verified by its record.

        Raises:
            StageError: they are not there, or not those recorded.
        """
        stage = stage_of(what, self.stages)
        folder = self.output_root / stage.signature
        if verified(record.read(stage.signature, self.records), folder) is None:
            raise StageError(
                f"{stage.label} ({stage.signature}) has not left its files in {folder}, or they were changed"
            )
        return folder

    def proposals(self) -> Proposals:
        """Return the boxes of the cell's ``propose`` stage."""
        from repro.data.proposals import Proposals

        return Proposals(self.folder("proposals") / "proposals.npz")

    def model(self) -> nn.Module:
        """Return the trained detector, ready for inference."""
        from repro.engine import checkpoint, distributed, trained

        weights = self.folder("model") / checkpoint.FINAL
        return trained.load(stage_of("model", self.stages).recipe, weights, distributed.choose_device(self.device))

    @property
    def data(self) -> Mapping[str, Any]:
        """What images the cell ends with: the ``data`` section of its evaluation, or of its proposals."""
        section: Mapping[str, Any] = stage_of("images", self.stages).recipe["data"]
        return section

    def images(self) -> list[dict[str, Any]]:
        """Return these images' dictionaries, sorted by id; boxes are xyxy in pixels."""
        from repro.data import datasets

        return datasets.load(self.data["dataset"], skip_bad=self.data["skip_bad"])

    def sample(self, image: dict[str, Any]) -> dict[str, Any]:
        """Return an image as the cell's evaluation shows it to a detector."""
        from repro.engine.config import build

        sample: dict[str, Any] = build(self.data["mapper"])(image)
        return sample
