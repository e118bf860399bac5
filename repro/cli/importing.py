"""`repro import`: score detections that any other code base wrote, and record the result as a cell's."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli import names, options, output, plan_files
from repro.cli.names import Selection
from repro.errors import DataError

if TYPE_CHECKING:
    from repro.harness.plan import Stage
    from repro.harness.work import Work


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "import",
        rich_help_panel="Compare",
        epilog="Example: repro import detreg/table5/detreg/1% detections.json --seed 42",
    )(import_)


def import_(
    address: options.Address,
    detections: Annotated[
        Path,
        typer.Argument(help="COCO results: [{image_id, category_id, bbox: [x, y, w, h], score}, ...], also .json.gz."),
    ],
    seed: Annotated[int, typer.Option("--seed", help="Seed of the run that wrote them.")],
    scale: options.Scale = None,
    results: options.Results = None,
    output_folder: options.Output = None,
    as_json: options.Json = False,
) -> None:
    """Score a COCO results file by the cell's own evaluation, and record it with origin `external`.

    A cell that we have trained as well keeps showing our own number.
    """
    from repro.engine.evaluate import score_file
    from repro.harness import places, record

    if not detections.is_file():
        raise DataError(f"{detections.absolute()} does not exist")
    declared, row, column = names.cell(address)
    chosen = names.scale(scale)
    made = plan_files.make(declared, chosen, Selection((row.id,), (column.id,), (seed,))).part
    stage = made.stages[made.cells[0].stages[-1]]
    began, started = time.monotonic(), datetime.now(UTC)
    metrics = score_file(stage.recipe, detections)
    work = _work(stage)
    copy = _keep(detections, work.output)
    measured = record.of(
        work,
        metrics=metrics,
        started=started,
        seconds=time.monotonic() - began,
        origin="external",
        artifacts={"detections": record.describe(copy, work.output)},
        remark=f"scored from {detections.name}, which another code base wrote",
    )
    path = record.write(measured, plan_files.records())
    if as_json:
        output.say_json({"record": path, "metrics": metrics, "signature": stage.signature})
        return
    metric = made.cells[0].metric
    output.say(f"{declared.name}/{row.id}/{column.id} seed {seed}: {metric} {metrics[metric]:.2f}")
    output.say(f"Recorded as {path}")
    output.say(f"Next: {options.program()} diff {declared.name} --scale {made.scale}{options.folders()}")
    output.remark(f"The detections are kept in {places.output_root() / stage.signature}.")


def _work(stage: Stage) -> Work:
    from repro.harness import places
    from repro.harness.launch.snapshot import about
    from repro.harness.work import Work

    return Work(
        stage=stage,
        output_root=places.output_root(),
        records=plan_files.records(),
        code=about(places.project_root()),
    )


def _keep(detections: Path, folder: Path) -> Path:
    """Copy the detections into the stage's folder, under a name of their content, and return the copy."""
    from repro.harness import record

    folder.mkdir(parents=True, exist_ok=True)
    ending = ".json.gz" if detections.suffix == ".gz" else ".json"
    target = folder / f"external-{record.sha256(detections)[:12]}{ending}"
    if not target.exists():
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(detections, temporary)
        temporary.replace(target)
    return target
