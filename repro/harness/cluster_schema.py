"""What a cluster file may say. Apart from ``cluster`` so that only reading such a file costs the import of pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from repro.errors import did_you_mean
from repro.harness.table import KINDS, SHARED

# What submitit writes into a batch script; anything else goes through slurm_additional_parameters.
SLURM = (
    *(
        "account",
        "additional_parameters",
        "constraint",
        "cpus_per_gpu",
        "exclude",
        "exclusive",
        "gpus_per_task",
        "gres",
    ),
    *("mail_type", "mail_user", "mem", "mem_per_cpu", "mem_per_gpu", "nodelist", "partition", "qos", "signal_delay_s"),
    *("srun_args", "teardown"),
)


def _kind(name: str) -> str:
    if name not in KINDS:
        raise ValueError(f"there is no such kind of stage. {did_you_mean(name, KINDS)}")
    return name


Kind = Annotated[str, AfterValidator(_kind)]


class Block(BaseModel):
    """Resources of a stage, as written: every key may be absent. ``slurm_<x>`` keys are passed through."""

    model_config = ConfigDict(extra="allow", strict=True)

    gpus: int | None = Field(default=None, ge=0)
    nodes: int | None = Field(default=None, ge=1)
    gpus_per_node: int | None = Field(default=None, ge=0)
    tasks_per_node: int | None = Field(default=None, ge=1)
    cpus_per_task: int | None = Field(default=None, ge=1)
    mem_gb: float | None = Field(default=None, gt=0, strict=False)
    timeout_min: int | None = Field(default=None, ge=1)
    array: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _total_or_layout(self) -> Block:
        if self.gpus is not None and (self.nodes is not None or self.tasks_per_node is not None):
            raise ValueError("gpus is the total over all nodes; leave out nodes and tasks_per_node, or leave out gpus")
        return self


class File(BaseModel):
    """A whole cluster file, after inheritance and with its variables expanded."""

    model_config = ConfigDict(extra="forbid", strict=True)

    executor: Literal["slurm", "local", "debug"]
    output_root: str = Field(min_length=1)
    datasets_root: str | None = None
    slots: int = Field(default=0, ge=0)
    gpus: Literal["auto"] | Annotated[int, Field(ge=0)] = 0
    setup: list[str] = []
    python: str | None = None
    gpus_as: Literal["gpus-per-node", "gres"] = "gpus-per-node"
    max_array_parallelism: int = Field(default=256, ge=1)
    max_timeouts: int = Field(default=30, ge=0)
    poll_seconds: float = Field(default=10.0, gt=0, strict=False)
    allow_dirty: bool = False
    defaults: Block = Block()
    stages: dict[Kind, Block] = {}

    @field_validator("setup", mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        return value.splitlines() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _shared_where_it_can_be(self) -> File:
        blocks = {"defaults": self.defaults} | {f"stages.{kind}": block for kind, block in self.stages.items()}
        for where, block in blocks.items():
            if block.array is not None and where.removeprefix("stages.") not in SHARED:
                raise ValueError(
                    f"{where}.array: only stages of the kinds {' and '.join(SHARED)} can be shared by several jobs"
                )
        return self

    @model_validator(mode="after")
    def _limited(self) -> File:
        blocks = (self.defaults, *self.stages.values())
        if self.executor == "slurm" and not any(block.timeout_min for block in blocks):
            raise ValueError("a slurm cluster needs a time limit: set defaults.timeout_min, in minutes")
        return self

    def settings(self) -> dict[str, Any]:
        """Return plain settings; blocks hold only the keys that were written."""
        plain = self.model_dump(exclude={"defaults", "stages"})
        plain["defaults"] = self.defaults.model_dump(exclude_unset=True)
        plain["stages"] = {kind: block.model_dump(exclude_unset=True) for kind, block in self.stages.items()}
        return plain


def unknown_keys(content: Mapping[str, Any]) -> list[str]:
    """Return a fault for every key of a block of resources that neither we nor submitit know.

    Apart from the model, whose own checks of a block end with its first malformed value.
    """
    known = [*Block.model_fields, *(f"slurm_{name}" for name in SLURM)]
    stages = content.get("stages")
    blocks = {"defaults": content.get("defaults")}
    blocks |= {f"stages.{kind}": block for kind, block in stages.items()} if isinstance(stages, Mapping) else {}
    return [
        f"{where}: unknown key {key}. {did_you_mean(str(key), known)}"
        for where, block in blocks.items()
        if isinstance(block, Mapping)
        for key in block
        if key not in known
    ]
