"""What a table's file may hold, key by key. `repro.harness.table_file` puts the parts together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from repro.errors import did_you_mean
from repro.harness.table import KINDS, Drawing, Gate, Paper

METRIC = r"^\w+\.\w+$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class PaperPart(_Part):
    """``paper:``"""

    title: str
    arxiv: str = ""
    table: int | str = ""
    figure: int | str = ""
    as_of: date | None = None
    runs: int | None = Field(default=None, ge=1)
    source: str = ""

    def plain(self) -> Paper:
        """Return it as the table keeps it."""
        as_of = "" if self.as_of is None else str(self.as_of)
        return Paper(self.title, self.arxiv, str(self.table), str(self.figure), as_of, self.runs, self.source)


class ScalePart(_Part):
    """One scale of ``scales:``."""

    seeds: list[int] = Field(min_length=1)


class RunPart(_Part):
    """``of:`` of a cost: how long the run was that the source speaks of."""

    epochs: float = Field(gt=0)
    images: int = Field(gt=0)


class CostPart(_Part):
    """``cost:`` of a stage; `repro.harness.cost` says what its forms mean."""

    source: str
    gpu_hours: tuple[float, float] | None = None
    of: RunPart | None = None
    images: int | None = Field(default=None, gt=0)
    images_per_second: tuple[float, float] | None = None
    on: Literal["GPU", "CPU"] = "GPU"
    flops: float | None = Field(default=None, gt=0)
    peak_flops: float | None = Field(default=None, gt=0)
    utilisation: tuple[float, float] | None = None

    @field_validator("images_per_second", "utilisation")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError("a range is [low, high], both above 0")
        return value

    @field_validator("gpu_hours")
    @classmethod
    def _hours(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] <= value[1]:
            raise ValueError("a range is [low, high], neither below 0")
        return value

    def complete(self) -> bool:
        """Whether it is one of the forms, whole and with nothing of another beside it."""
        return self.model_fields_set - {"source"} in COST_FORMS


COST_FORMS = (
    {"gpu_hours"},
    {"gpu_hours", "of"},
    {"gpu_hours", "of", "images"},
    {"images_per_second", "images"},
    {"images_per_second", "images", "on"},
    {"flops", "peak_flops", "utilisation"},
)


class StagePart(_Part):
    """One stage, without the keys of its recipe."""

    config: str | None = Field(default=None, pattern=r"\.py$")
    seeds: list[int] | None = Field(default=None, min_length=1)
    kind: str | None = None
    parents: list[str] | None = Field(default=None, alias="from")
    cost: CostPart | None = None

    @field_validator("kind")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in KINDS:
            raise ValueError(did_you_mean(value, KINDS))
        return value

    @field_validator("cost")
    @classmethod
    def _whole(cls, value: CostPart | None) -> CostPart | None:
        if value is not None and not value.complete():
            raise ValueError(
                "give gpu_hours (of another run: with of, and images if it had others), or images_per_second and "
                "images, or flops, peak_flops and utilisation"
            )
        return value


class _Line(_Part):
    id: str = Field(default="", pattern=r"^([a-z0-9.%_-]+)?$")
    label: str = ""
    group: str = ""
    not_runnable: str = ""
    note: str = ""
    gate: Gate | None = None


class RowPart(_Line):
    """One row, without its numbers and stages."""

    cited: bool = False
    published: bool = False
    runs: int | None = Field(default=None, ge=1)
    source: str = ""
    skip: list[str] = []
    paper: dict[str, Any] = {}
    corrected: dict[str, Any] = {}


class ColumnPart(_Line):
    """One column, without its stages."""

    metric: str | None = Field(default=None, pattern=METRIC)
    tolerance: float | None = Field(default=None, ge=0)
    machine: list[str] = []
    skip: list[str] = []


class Difference(_Part):
    """``expr:`` of a claim."""

    row: str
    column: str
    minus: str | None = None


class ClaimPart(_Part):
    """One claim."""

    id: str = Field(pattern=r"^[a-z0-9.%_-]+$")
    text: str
    expr: Difference
    metric: str | None = Field(default=None, pattern=METRIC)
    above: float | None = None
    below: float | None = None
    source: str = ""
    gate: Gate = "A"


class ReasonPart(_Part):
    """One entry of ``accepted_reasons:``."""

    scale: str
    date: date | str
    reason: str = Field(min_length=1)


class DrawPart(BaseModel):
    """``draw:`` of a figure; what is set beside the kind is checked by the drawing itself."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: str

    def plain(self) -> Drawing:
        """Return it as the figure keeps it."""
        return Drawing(self.kind, dict(self.model_extra or {}))


class TablePart(_Part):
    """The file's own keys; those that hold many parts are taken apart one by one."""

    metric: str = Field(default="", pattern=METRIC)
    seeds: list[int] = Field(min_length=1)
    title: str = ""
    tolerance: float = Field(default=0.0, ge=0)
    gate: Gate = "B"
    baseline: str | None = None
    higher_is_better: bool = True
    note: str = ""
    paper: dict[str, Any] = {}
    stages: dict[str, Any] = {}
    columns: dict[str, Any] = Field(min_length=1)
    rows: dict[str, Any] = Field(min_length=1)
    claims: list[Any] = []
    accepted: dict[str, Any] = {}
    accepted_reasons: list[Any] = []
    scales: dict[str, Any] = {}
    draw: DrawPart | None = None


Part = TypeVar("Part", bound=BaseModel)


def check(
    model: type[Part], content: Mapping[str, Any], also: Iterable[str] = ()
) -> tuple[Part | None, list[tuple[tuple[str, ...], str]]]:
    """Validate one part.

    Args:
        model: What it should be.
        content: What the file has.
        also: Further keys that may stand here (stages), for the nearest right one.

    Returns:
        The part, None if it has faults; and the faults: path of keys below the part, and what is wrong there.
    """
    try:
        return model.model_validate(content, strict=False), []
    except ValidationError as error:
        return None, [_fault(model, dict(one), also) for one in error.errors()]


def _fault(model: type[BaseModel], error: dict[str, Any], also: Iterable[str]) -> tuple[tuple[str, ...], str]:
    at = tuple(str(part) for part in error["loc"])
    key = ".".join(at)
    known = [field.alias or name for name, field in model.model_fields.items()]
    match error["type"]:
        case "extra_forbidden":
            near = did_you_mean(at[-1], [*known, *also]) if len(at) == 1 else "It has no meaning there."
            return at, f"unknown key {key}. {near}"
        case "missing":
            return at, f"{key} is missing"
        case "string_pattern_mismatch" | "value_error":
            return at, f"{key} cannot be {error['input']!r}. {_expected(key, error)}"
        case _:
            return at, f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r:.80}"


def _expected(key: str, error: dict[str, Any]) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return {
        "metric": 'A metric is "<file of repro/evaluation>.<key>", e.g. coco_box.AP.',
        "id": "An id has small letters, digits and . % _ - only.",
        "config": "A recipe is a .py file below repro/configs.",
    }[key]


def fitting(model: type[BaseModel], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a faulty part can still be used to look for further faults."""
    return {k: v for k, v in content.items() if k in model.model_fields and not check(model, {k: v})[1]}


def sound(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table's own keys of the right kind, and stand-ins for what is missing or wrong."""
    stand_ins: dict[str, Any] = {"metric": "coco_box.AP", "seeds": [0], "columns": {}, "rows": {}}
    faulty = {at[0] for at, _ in check(TablePart, content)[1]}
    return stand_ins | {key: value for key, value in content.items() if key not in faulty and value is not None}
