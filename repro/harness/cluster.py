"""Where stages run: one YAML file a cluster in ``slurm/``, written in GPUs.

    executor: slurm
    inherits: example                                # another file of the folder; this one is laid over it
    output_root: ${REPRO_OUTPUT:-~/.cache/repro}     # variables of the environment, with a default
    defaults: {gpus_per_node: 8, cpus_per_task: 8, timeout_min: 2880, slurm_partition: gpu}
    stages:                                          # what a kind of stage changes
      pretrain: {gpus: 16}                           # two full nodes, one task a GPU
      propose:  {gpus: 0, cpus_per_task: 32, array: 16}   # sixteen such jobs share the images; so can those of label

Keys named ``slurm_<x>`` are handed to submitit, which knows account, qos, partition, constraint and the like;
``slurm_additional_parameters`` takes any other line of sbatch.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import ClusterError, collect, did_you_mean
from repro.harness import places

if TYPE_CHECKING:
    from pydantic import ValidationError

VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one stage asks for.

    Attributes:
        array: How many jobs of these resources share the stage, as elements of one array.
        slurm: submitit's extras without their prefix.
    """

    nodes: int = 1
    gpus_per_node: int = 0
    tasks_per_node: int = 1
    cpus_per_task: int = 1
    mem_gb: float | None = None
    timeout_min: int | None = None
    array: int = 1
    slurm: dict[str, Any] = field(default_factory=dict)

    @property
    def gpus(self) -> int:
        """GPUs over all nodes."""
        return self.nodes * self.gpus_per_node

    @property
    def tasks(self) -> int:
        """Processes over all nodes."""
        return self.nodes * self.tasks_per_node


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A place to run stages; ``load`` reads and checks one.

    Attributes:
        name: Its file's name without the ending.
        executor: ``slurm``, ``local`` (slots with warm workers) or ``debug`` (in this process).
        output_root: Where stages keep checkpoints and logs; shared by all nodes, outside the repository.
        datasets_root: Where data sets lie; None leaves it to the environment.
        slots: Local: how many stages run side by side; 0 means one a GPU, or without GPUs one a core.
        gpus: Local: how many GPUs are shared out over the slots.
        setup: Shell lines that a job runs before Python.
        python: Interpreter of the jobs; None means this one.
        gpus_as: How GPUs are asked for: ``gpus-per-node``, or ``gres`` where a site knows nothing else.
        max_array_parallelism: How many elements of a job array run at once.
        max_timeouts: How often a stage may run into its time limit and go on.
        poll_seconds: Pause between two looks at the queue.
        allow_dirty: Whether code with uncommitted changes may run; its records say so.
    """

    name: str
    executor: str
    output_root: Path
    datasets_root: Path | None = None
    slots: int = 0
    gpus: int = 0
    setup: tuple[str, ...] = ()
    python: str | None = None
    gpus_as: str = "gpus-per-node"
    max_array_parallelism: int = 256
    max_timeouts: int = 30
    poll_seconds: float = 10.0
    allow_dirty: bool = False
    defaults: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    def resources(self, kind: str) -> Resources:
        """Return what a stage of ``kind`` asks for: the defaults with the kind's own settings laid over them.

        Raises:
            ClusterError: the request cannot be spread over nodes.
        """
        return _resources(self.defaults, self.stages.get(kind, {}))


def names(folder: Path | None = None) -> list[str]:
    """Return the names of all clusters that are declared, without reading them."""
    return sorted(path.stem for path in (folder or _folder()).glob("*.yaml"))


def load(name_or_path: str | Path, folder: Path | None = None) -> Cluster:
    """Read and check a cluster.

    Args:
        name_or_path: A name in ``folder``, or the path of a YAML file.
        folder: Where clusters are declared; the project's ``slurm/`` by default.

    Raises:
        ClusterError: there is no such cluster, or its file is malformed; all faults in one message.
    """
    path = _find(str(name_or_path), folder or _folder())
    content = _inherit(path, ())
    faults: list[str] = []
    content = {key: value if key == "setup" else _expand(value, faults) for key, value in content.items()}
    checked, more = _validate(content)
    faults += more
    if checked is not None and not faults:
        faults += _spread_faults(checked)
    collect(faults, str(path), ClusterError)
    assert checked is not None
    for key in ("output_root", "datasets_root"):
        checked[key] = Path(checked[key]).expanduser().absolute() if checked[key] else None
    checked["setup"] = tuple(checked["setup"])
    checked["gpus"] = _visible_gpus() if checked["gpus"] == "auto" else checked["gpus"]
    return Cluster(name=path.stem, **checked)


def check(cluster: Cluster) -> list[str]:
    """Return what on this machine keeps ``cluster`` from being used, each fault with what would repair it."""
    faults = []
    nearest = next(folder for folder in (cluster.output_root, *cluster.output_root.parents) if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        faults.append(
            f"output_root {cluster.output_root}: {nearest} is not writable. Set REPRO_OUTPUT or the file's key."
        )
    if cluster.output_root.is_relative_to(places.project_root()):
        faults.append(f"output_root {cluster.output_root} lies inside the project; choose a folder outside it.")
    if cluster.datasets_root and not cluster.datasets_root.is_dir():
        faults.append(
            f"datasets_root {cluster.datasets_root}: no such folder. Set DETECTRON2_DATASETS or the file's key."
        )
    if cluster.python and shutil.which(cluster.python) is None:
        faults.append(f"python {cluster.python}: no such interpreter.")
    if cluster.executor == "slurm":
        missing = [tool for tool in ("sbatch", "srun", "squeue", "scancel", "scontrol") if shutil.which(tool) is None]
        if missing:
            faults.append(f"executor slurm: {', '.join(missing)} not on PATH. Run on a login node of the cluster.")
    return [f"{cluster.name}: {fault}" for fault in faults]


def _folder() -> Path:
    return places.project_root() / "slurm"


def _find(name: str, folder: Path) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ClusterError(f"no cluster file {path.absolute()}")
        return path
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise ClusterError(f"no cluster {name!r} in {folder}. {did_you_mean(name, names(folder))}")
    return path


def _inherit(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Return the content of ``path`` laid over that of the file it inherits from."""
    import yaml

    if path in seen:
        raise ClusterError(f"{path}: inherits itself, by way of {' -> '.join(p.stem for p in (*seen, path))}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ClusterError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ClusterError(f"{path}: a mapping of settings was expected, not {type(content).__name__}")
    parent = content.pop("inherits", None)
    if parent is None:
        return content
    return _lay_over(_inherit(_find(str(parent), path.parent), (*seen, path)), content)


def _lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _lay_over(merged[key], value) if both else value
    return merged


def _expand(value: Any, faults: list[str]) -> Any:
    """Replace ``${NAME}`` and ``${NAME:-default}`` in all strings; an unset name without a default is a fault."""
    if isinstance(value, dict):
        return {key: _expand(item, faults) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, faults) for item in value]
    if not isinstance(value, str):
        return value

    def look_up(match: re.Match[str]) -> str:
        found = os.environ.get(match["name"]) or match["default"]
        if found is None:
            faults.append(f"{match[0]}: the variable {match['name']} is not set, and no default is given")
        return found or ""

    text = VARIABLE.sub(look_up, value)
    return int(text) if VARIABLE.fullmatch(value) and text.isdigit() else text


def _validate(content: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the checked settings with their defaults, or None, and all faults."""
    from pydantic import ValidationError

    from repro.harness.cluster_schema import File, unknown_keys

    unknown = unknown_keys(content)
    try:
        return File.model_validate(content).settings(), unknown
    except ValidationError as error:
        return None, [*_explain(error), *unknown]


def _explain(error: ValidationError) -> list[str]:
    from repro.harness.cluster_schema import File

    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            faults.append(f"{where}: unknown key. {did_you_mean(where, File.model_fields)}")
        elif fault["type"] == "missing":
            faults.append(f"{where} is missing")
        elif fault["type"] == "value_error":
            faults.append(": ".join(filter(None, [where, fault["msg"].removeprefix("Value error, ")])))
        else:
            faults.append(f"{where}: {fault['msg']} (got {fault['input']!r})")
    return faults


def _visible_gpus() -> int:
    """Return how many GPUs this process may use, by the environment or else by NVIDIA's driver."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return len([name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name])
    driver = Path("/proc/driver/nvidia/gpus")
    return len(list(driver.iterdir())) if driver.is_dir() else 0


def _spread_faults(settings: Mapping[str, Any]) -> list[str]:
    faults = []
    for kind in ("defaults", *settings["stages"]):
        try:
            _resources(settings["defaults"], settings["stages"].get(kind, {}))
        except ClusterError as error:
            faults.append(f"{kind}: {error}")
    return faults


def _resources(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> Resources:
    """Lay ``own`` over ``defaults``; ``gpus`` (a total) is spread over full nodes, and each GPU gets one task."""
    block = {**defaults, **own}
    slurm = {key.removeprefix("slurm_"): value for key, value in block.items() if key.startswith("slurm_")}
    block = {key: value for key, value in block.items() if not key.startswith("slurm_") and value is not None}
    layout = ("nodes", "gpus_per_node", "tasks_per_node")
    if "gpus" in own:
        # The total decides the layout; the node's size is what the defaults say a node has.
        size = int(defaults.get("gpus_per_node") or own["gpus"])
        block = {key: value for key, value in block.items() if key not in layout or key in own}
        block |= _spread(int(own["gpus"]), size)
    elif "gpus" in block and not set(layout) & set(own):
        block |= _spread(int(block["gpus"]), int(block.get("gpus_per_node") or block["gpus"]))
    elif "gpus_per_node" in own and "tasks_per_node" not in own:
        block.pop("tasks_per_node", None)
    block.pop("gpus", None)
    block.setdefault("tasks_per_node", max(1, int(block.get("gpus_per_node", 0))))
    return Resources(slurm=slurm, **block)


def _spread(gpus: int, size: int) -> dict[str, int]:
    if gpus <= size:
        return {"nodes": 1, "gpus_per_node": gpus, "tasks_per_node": max(1, gpus)}
    if gpus % size:
        raise ClusterError(
            f"{gpus} GPUs do not fill nodes of {size}; ask for {gpus - gpus % size} or {gpus + size - gpus % size}"
        )
    return {"nodes": gpus // size, "gpus_per_node": size, "tasks_per_node": size}
