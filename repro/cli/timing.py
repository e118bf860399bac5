"""`repro bench`: how fast detectors are on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import complete, models, options, output
from repro.cli.exporting import parse_size
from repro.errors import ExportError

if TYPE_CHECKING:
    from repro.deploy.timing import Latency

Key = tuple[str, str]
"""Label of a model, name of a backend."""

EXAMPLES = """Examples:

repro bench latency rtdetr/table2

repro bench latency 'rtdetr/table2/rtdetrv2-*' --backends eager,onnxruntime --threads 1 --format markdown
"""


class Layout(StrEnum):
    """How the numbers are shown."""

    TEXT = "text"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(no_args_is_help=True, help="Time detectors on this machine.", epilog=EXAMPLES)
    group.callback()(lambda: None)  # so that the one verb in it keeps its name
    group.command("latency", epilog=EXAMPLES)(latency)
    app.add_typer(group, name="bench", rich_help_panel="Use")


def latency(
    model: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="TABLE (all rows), TABLE/ROW, globs in quotes, signatures, recipes.",
            autocompletion=complete.addresses,
        ),
    ],
    backends: Annotated[
        str | None,
        typer.Option(
            "--backends", help="Of eager, compile, onnxruntime, openvino, tensorrt. Default: all that are here."
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="In half precision, where a backend can.")] = False,
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Of the image. Default: as evaluated, else 640.")
    ] = None,
    warmup: Annotated[int, typer.Option("--warmup", min=0, help="Rounds that are not counted.")] = 10,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds that are.")] = 100,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Of the CPU. Default: torch's.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Torch's name of it. Default: a GPU.")] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep the ONNX files there, and use those that are there already."),
    ] = None,
    layout: Annotated[Layout, typer.Option("--format", help="Of the table.")] = Layout.TEXT,
    scale: options.Scale = None,
    as_json: options.Json = False,
) -> None:
    """Measure frames a second, one image at a time, from pixels on the device to detections; the median of many.

    Models and backends take turns, so that their ratios are of one time. Weights are random: they change no speed. A
    backend that is not installed is named and passed over.
    """
    found = [models.find(one, scale) for name in model for one in models.expand(name)]
    about = _measure(found, backends, "fp16" if half else "fp32", size, (warmup, repeats), threads, device, keep)
    if as_json:
        output.say_json(about)
    elif layout is Layout.MARKDOWN:
        for line in _markdown(about):
            output.say(line)
    else:
        _show(about)


def _measure(
    found: Sequence[models.Model],
    backends: str | None,
    precision: str,
    size: str | None,
    counts: tuple[int, int],
    threads: int | None,
    device: str | None,
    keep: Path | None,
) -> dict[str, Any]:
    """Return times of all models in all backends, and what they were measured on."""
    import torch

    from repro.deploy import timing
    from repro.engine import distributed
    from repro.harness import record

    if threads is not None:
        torch.set_num_threads(threads)
    where = distributed.choose_device(device)
    usable, missing = _backends(backends, where, precision)
    with tempfile.TemporaryDirectory() as folder:
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
        passes, sizes = _prepare(found, usable, size, where, precision, keep or Path(folder))
        times = timing.rounds(passes, *counts)
        machine = timing.machine(where)
    return {
        "machine": record.hardware() | machine,
        "versions": record.versions(),
        "precision": precision,
        "warmup": counts[0],
        "repeats": counts[1],
        "missing": missing,
        "times": _rows(times, sizes),
    }


def _backends(named: str | None, device: Any, precision: str) -> tuple[list[str], dict[str, str]]:
    """Return what can be used, and why the others cannot."""
    from repro.deploy import backends

    asked = [name.strip() for name in named.split(",") if name.strip()] if named else list(backends.BACKENDS)
    reasons = {name: backends.missing(name, device, precision) for name in asked}
    missing = {name: why for name, why in reasons.items() if why}
    usable = [name for name in asked if name not in missing]
    if not usable:
        raise ExportError("none of the backends can be used: " + "; ".join(f"{n}: {why}" for n, why in missing.items()))
    return usable, missing


def _prepare(
    found: Sequence[models.Model], usable: Sequence[str], size: str | None, device: Any, precision: str, folder: Path
) -> tuple[dict[Key, Callable[[], object]], dict[str, tuple[int, int]]]:
    """Make each model ready in each backend."""
    from repro.deploy import latency as ready
    from repro.engine import trained
    from repro.harness import signature

    passes: dict[Key, Callable[[], object]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for one in found:
        sizes[one.label] = parse_size(size) if size else one.size or (640, 640)
        output.remark(f"making {one.label} ready in {', '.join(usable)}")
        detector = trained.load(one.recipe, None, device, evaluation=one.evaluation)
        own = folder / signature.digest(one.recipe["model"])[:12]
        own.mkdir(exist_ok=True)
        made = ready.prepare(detector, usable, sizes[one.label], device, precision, own)
        passes |= {(one.label, name): run for name, run in made.items()}
    return passes, sizes


def _rows(times: Mapping[Key, Latency], sizes: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """Return a line for each model and backend; ``relative`` is in shares of the frames a second of the first model."""
    first = next(label for label, _ in times)
    return [
        {
            "model": label,
            "backend": backend,
            "size": list(sizes[label]),
            "fps": one.fps,
            "median": one.median,
            "p10": one.p10,
            "p90": one.p90,
            "relative": one.fps / times[first, backend].fps,
        }
        for (label, backend), one in times.items()
    ]


HEAD = ("model", "backend", "size", "FPS", "ms, median", "10 %…90 %", "relative")


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["model"],
        row["backend"],
        "×".join(map(str, row["size"])),
        f"{row['fps']:.3g}",
        f"{row['median']:.4g}",
        f"{row['p10']:.4g}…{row['p90']:.4g}",
        f"{row['relative']:.3f}",
    )


def _told(about: Mapping[str, Any]) -> list[str]:
    """Return the sentences below the numbers."""
    machine = about["machine"]
    threads = output.counted(machine["threads"], "thread")
    device = machine.get("gpu") or machine.get("cpu") or "a CPU"
    clocks = machine.get("clocks") or {}
    lines = [
        f"{device}, {threads}, {about['precision']}, batch 1; {output.counted(about['warmup'], 'round')} of warm-up, "
        f"median of {about['repeats']}. Relative: FPS in shares of the first model's in the same backend."
    ]
    if clocks:
        lines.append("Clocks: " + ", ".join(f"{name} {value}" for name, value in clocks.items()))
    return lines + [f"{name} is left out: {why}." for name, why in about["missing"].items()]


def _show(about: Mapping[str, Any]) -> None:
    grid = output.grid(*HEAD, right=HEAD[2:])
    for row in about["times"]:
        grid.add_row(*_cells(row))
    output.show(grid)
    for line in _told(about):
        output.remark(line)


def _markdown(about: Mapping[str, Any]) -> list[str]:
    rows = [HEAD, ("---",) * len(HEAD), *map(_cells, about["times"])]
    return [f"| {' | '.join(row)} |" for row in rows] + ["", *_told(about)]
