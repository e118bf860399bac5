"""One stage on its way to a machine: what to run, where to read and where to write. It travels as JSON.

Paths are absolute, so a job does not care from which folder, machine or snapshot of the code it is started.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.harness.plan import Stage


@dataclass(frozen=True)
class Work:
    """What one process needs to run one stage.

    Attributes:
        stage: The stage of the plan, with its resolved recipe.
        output_root: Where all stages keep their folders.
        records: Folder of the records.
        datasets_root: Where data sets lie; None leaves it to the data sets' own default.
        code: ``{"commit": str | None, "dirty": bool}`` of the code that runs.
        attempt: 1 the first time, counted by the payload.
        device: Torch's name of the device, or None to choose (a GPU where there is one).
        share: Which of how many jobs that do this stage together; number 0 records it, the others only help.
    """

    stage: Stage
    output_root: Path
    records: Path
    datasets_root: Path | None = None
    code: dict[str, Any] = field(default_factory=lambda: {"commit": None, "dirty": True})
    attempt: int = 1
    device: str | None = None
    share: tuple[int, int] = (0, 1)

    @property
    def helps(self) -> bool:
        """Whether another job holds this stage and records it."""
        return self.share[0] > 0

    @property
    def output(self) -> Path:
        """Folder of this stage: checkpoints, logs, progress and failure files."""
        return self.output_root / self.stage.signature

    def parent_output(self, name: str) -> Path:
        """Folder of the parent stage called ``name`` (a key of ``stage.parents``)."""
        return self.output_root / self.stage.parents[name]

    def to_json(self) -> str:
        """Return one line of JSON that ``from_json`` reads back."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Work:
        """Return the work that ``to_json`` wrote."""
        content = json.loads(text)
        root = content.pop("datasets_root")
        return cls(
            stage=Stage(**content.pop("stage")),
            output_root=Path(content.pop("output_root")),
            records=Path(content.pop("records")),
            datasets_root=Path(root) if root else None,
            share=tuple(content.pop("share", (0, 1))),
            **content,
        )
