"""What was measured: one file a finished stage, written once and never edited.

``<folder>/<signature>.json`` is the first record of a stage and ``<signature>.<n>.json`` its repeats (a stage whose
weights were lost is run again when another stage needs them). Look-ups go by name and never list the folder, so they
cost the same with ten records and with a hundred thousand, and hundreds of jobs may write at once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import RecordError, did_you_mean
from repro.harness import atomic

if TYPE_CHECKING:
    from repro.harness.work import Work

SCHEMA = 1
STAGE = ("signature", "kind", "label", "scale", "recipe", "seed", "parents", "datasets")  # what a record repeats of it
ORIGINS = ("retrained", "published", "external")
PACKAGES = (
    "repro", "torch", "torchvision", "detectron2", "numpy", "hotcoco", "faster-coco-eval", "pycocotools",
    "onnxruntime", "openvino", "tensorrt",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measurement of one stage.

    Attributes:
        metrics: Name to value; AP in percent, times in seconds. A value that does not exist is NaN (null in the file).
        origin: Where the numbers come from, one of ``ORIGINS``.
        code: ``{"commit": str | None, "dirty": bool}`` of the snapshot that ran.
        seconds: Wall time over all attempts that led to this record.
        checkpoint: ``{"file", "sha256", "bytes"}``, the file relative to the stage's output folder.
        artifacts: Name to the same three, for everything else that is worth keeping.
        started, finished: ISO 8601 with time zone.
        implementation: Which of several equal implementations ran, e.g. ``{"coco_box": "hotcoco"}``.
        remark: Anything a reader must know, e.g. where a merged record disagrees with ours.
        n: 0 for the first record of the signature, 1.. for repeats; the file's name says it, not its content.
    """

    signature: str
    kind: str
    label: str
    scale: str
    recipe: dict[str, Any]
    seed: int
    parents: dict[str, str]
    datasets: dict[str, str]
    metrics: dict[str, float]
    code: dict[str, Any]
    seconds: float
    started: str
    finished: str
    origin: str = "retrained"
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    iterations: int = 0
    checkpoint: dict[str, Any] | None = None
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    attempts: int = 1
    implementation: dict[str, str] = field(default_factory=dict)
    remark: str = ""
    schema: int = SCHEMA
    n: int = 0

    def files(self) -> list[dict[str, Any]]:
        """Return the descriptions of the checkpoint and the artifacts."""
        return ([self.checkpoint] if self.checkpoint else []) + list(self.artifacts.values())

    def to_json(self) -> str:
        """Return the file's text: sorted keys, NaN as null, so that it is valid JSON and diffs well."""
        content = dataclasses.asdict(self)
        del content["n"]
        content["metrics"] = {k: None if math.isnan(v) else v for k, v in self.metrics.items()}
        return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def of(work: Work, *, metrics: Mapping[str, float], started: datetime, seconds: float, **more: Any) -> Record:
    """Return the record of a stage that has just ended, with what this machine and this installation are.

    Args:
        work: The stage that ran.
        metrics: What it measured.
        started: When it started, with a time zone.
        seconds: Wall time it took.
        **more: Other fields of ``Record``; ``hardware`` is laid over what is found here (the engine knows the GPU).
    """
    stage = work.stage
    about: dict[str, Any] = {name: getattr(stage, name) for name in STAGE}
    measured: dict[str, Any] = {"versions": versions(), "attempts": work.attempt} | more
    return Record(
        **about,
        metrics=dict(metrics),
        code=dict(work.code),
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        hardware=hardware() | measured.pop("hardware", {}),
        **measured,
    )


def write(record: Record, folder: Path) -> Path:
    """Write ``record`` under the first free name of its signature and return the path. Nothing is ever overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    text = record.to_json()
    n = 0
    while not atomic.create(path := _path(record.signature, folder, n), text):
        n += 1
    return path


def exists(signature: str, folder: Path) -> bool:
    """Return whether the stage was ever recorded; reads nothing."""
    return _path(signature, folder, 0).exists()


def read(signature: str, folder: Path) -> list[Record]:
    """Return all records of ``signature``, the newest last; an empty list when there are none.

    Raises:
        RecordError: a file is malformed; it is named.
    """
    records: list[Record] = []
    while (record := _load(_path(signature, folder, len(records)), len(records))) is not None:
        records.append(record)
    return records


def ours(records: list[Record]) -> list[Record]:
    """Return the records of what was run here; an imported score is shown, but is no reason not to train."""
    return [record for record in records if record.origin != "external"]


def latest(signature: str, folder: Path) -> Record | None:
    """Return the newest record of ``signature``, or None."""
    records = read(signature, folder)
    return records[-1] if records else None


def verify(folder: Path) -> list[str]:
    """Return the faults of all records in ``folder``, each naming its file; an empty list when all is well.

    Checked: the file can be read, its name is its signature's, its signature is that of its content, repeats are
    numbered without gaps, and no two files are the same measurement.
    """
    faults: list[str] = []
    seen: dict[str, str] = {}
    for path, signature, n in _listing(folder):
        try:
            record = _load(path, n)
        except RecordError as error:
            faults.append(str(error))
            continue
        if record is None:
            continue
        faults += [f"{path}: {fault}" for fault in _contradictions(record, signature)]
        if n and not _path(signature, folder, n - 1).exists():
            faults.append(f"{path}: {_path(signature, folder, n - 1).name} is missing, so this one is never found")
        text = record.to_json()
        if text in seen:
            faults.append(f"{path}: the same measurement as {seen[text]}")
        seen[text] = path.name
    return faults


def merge(source: Path, target: Path) -> dict[str, int]:
    """Copy the records of folder ``source`` into ``target``.

    A record that ``target`` has already is skipped. One of the same signature with other numbers is kept as a repeat,
    with a remark.

    Returns:
        How many were ``copied``, ``skipped`` (there already) and ``differing`` (kept as a repeat).

    Raises:
        RecordError: ``source`` holds a malformed record or one whose signature is not that of its content; nothing
            is copied then.
    """
    if faults := verify(source):
        raise RecordError("nothing was merged:\n" + "\n".join("  " + fault for fault in faults))
    counts = {"copied": 0, "skipped": 0, "differing": 0}
    for path, signature, n in _listing(source):
        record = _load(path, n)
        if record is None:
            continue
        here = read(signature, target)
        if any(_same_run(record, other) for other in here):
            counts["skipped"] += 1
            continue
        differing = any(not _equal(record.metrics, other.metrics) for other in here)
        if differing:
            remark = "; ".join(
                filter(None, [record.remark, "merged: its metrics differ from those of an earlier record"])
            )
            record = dataclasses.replace(record, remark=remark)
        write(record, target)
        counts["differing" if differing else "copied"] += 1
    return counts


def describe(path: Path, folder: Path) -> dict[str, Any]:
    """Return ``{"file", "sha256", "bytes"}`` of ``path`` for a record; ``file`` is relative to ``folder``."""
    return {"file": str(path.relative_to(folder)), "sha256": sha256(path), "bytes": path.stat().st_size}


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hardware() -> dict[str, Any]:
    """Return host, processor and cores of this machine, as far as they can be had without torch."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"host": socket.gethostname(), "cpu": model, "cores": cores, "gpu": None, "gpus": 0}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a number, without importing them."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _path(signature: str, folder: Path, n: int) -> Path:
    return folder / (f"{signature}.{n}.json" if n else f"{signature}.json")


def _listing(folder: Path) -> Iterator[tuple[Path, str, int]]:
    """Yield path, signature and n of every record file, repeats after the first."""
    found = []
    for path in folder.glob("*.json"):
        signature, _, number = path.stem.partition(".")
        if not path.name.startswith("."):
            found.append((signature, int(number) if number.isdigit() else 0, path))
    for signature, n, path in sorted(found):
        yield path, signature, n


def _load(path: Path, n: int) -> Record | None:
    try:
        content = atomic.read_json(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is not a record: {error}") from error
    if content is None:
        return None
    if faults := _faults(content):
        raise RecordError(f"{path} is not a record:\n" + "\n".join("  " + fault for fault in faults))
    content["metrics"] = {k: math.nan if v is None else float(v) for k, v in content["metrics"].items()}
    return Record(**content, n=n)


def _faults(content: dict[str, Any]) -> list[str]:
    """Return what keeps a JSON object from being a record of this schema."""
    if content.get("schema") != SCHEMA:
        return [f"schema {content.get('schema')!r}; this version reads {SCHEMA}"]
    fields = {f.name: f for f in dataclasses.fields(Record) if f.name != "n"}
    faults = [f"unknown key {key!r}. {did_you_mean(key, fields)}" for key in content.keys() - fields.keys()]
    for name, spec in fields.items():
        if name not in content:
            if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
                faults.append(f"{name} is missing")
        elif not isinstance(content[name], _TYPES[str(spec.type).split("[")[0]]):
            faults.append(f"{name}: {spec.type} was expected, not {content[name]!r}")
    if not faults:
        wrong = [
            k for k, v in content["metrics"].items() if not isinstance(v, int | float | None) or isinstance(v, bool)
        ]
        faults += [f"metrics.{key} is not a number" for key in wrong]
    if content.get("origin", ORIGINS[0]) not in ORIGINS:
        faults.append(f"origin {content['origin']!r}. {did_you_mean(str(content['origin']), ORIGINS)}")
    return sorted(faults)


_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "dict": (dict, type(None))}


def _contradictions(record: Record, name: str) -> list[str]:
    from repro.harness.signature import signature

    own = signature(record.kind, record.recipe, record.seed, record.parents, record.datasets)
    faults = []
    if record.signature != name:
        faults.append(f"holds the record of {record.signature}")
    if record.signature != own:
        faults.append(f"its content has signature {own}, not {record.signature}: it was edited, or made by other rules")
    return faults


def _same_run(a: Record, b: Record) -> bool:
    return a.started == b.started and a.finished == b.finished and _equal(a.metrics, b.metrics)


def _equal(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    return a.keys() == b.keys() and all(a[k] == b[k] or (math.isnan(a[k]) and math.isnan(b[k])) for k in a)
