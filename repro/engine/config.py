"""Recipes: load, override, scale, write down as plain values, and build.

A recipe is one of Detectron2's lazy configs, a Python file in which a call is recorded instead of made. `resolve`
turns it into a dictionary of numbers, strings, lists and dictionaries, in which a recorded call is a dictionary with
the dotted name of what is called under ``_target_``. From there on nothing needs the file: signatures hash the
dictionary, plans store it, and `build` makes the objects from it in a job.

Two things differ from Detectron2's own loading. A setting that the recipe does not have is refused, since
`LazyConfig.apply_overrides` would add it without a word; and every recipe is executed anew for each call, since
objects of shared files are edited by the recipes that import them.
"""

from __future__ import annotations

import builtins
import copy
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from numbers import Number
from pathlib import Path
from typing import Any

from repro.data.splits import DRAWS, REST
from repro.errors import RecipeError, collect, did_you_mean
from repro.harness.plan import Resolved

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SCALES = ("paper", "small", "tiny", "smoke")
"""From large to small. A scale starts from the values of the one before it."""


def resolve(config: str, overrides: Mapping[str, Any] | None = None, scale: str = "paper") -> Resolved:
    """Plain values of a recipe at a scale, and the fingerprints of the data sets that it reads.

    Args:
        config: path below ``repro/configs``, or an absolute path.
        overrides: dotted key to value, as a table's row or column sets them. They come before the scale's values, but
            for keys that the scale marks by a question mark (`repro.configs.scales`).
        scale: one of `SCALES`.

    Raises:
        RecipeError: there is no such recipe or scale, or keys that the recipe does not have are set: all are named.
    """
    recipe = load(config)
    if scale not in SCALES:
        raise RecipeError(f"There is no scale {scale!r}. {did_you_mean(scale, SCALES)}")
    scales = recipe.pop("scales", {})
    for name in [name for name in recipe if name.endswith("_scales")]:
        del recipe[name]  # what it put together; at one scale, the values of the others are not the recipe's
    faults = apply(recipe, overrides or {}, config)
    for name in SCALES[: SCALES.index(scale) + 1]:
        faults += apply(recipe, _prevailing(scales.get(name, {}), overrides or {}), f"{config} (scale {name})")
    collect(faults, f"recipe {config}", RecipeError)
    return Resolved(recipe, fingerprints(recipe))


def _prevailing(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A scale's values without those that give way to what is set: to the very key, or to a section that holds it."""

    def gives_way(key: str) -> bool:
        return key.startswith("?") and any(f"{key[1:]}.".startswith(f"{other}.") for other in overrides)

    return {key.removeprefix("?"): value for key, value in values.items() if not gives_way(key)}


def recipes() -> list[str]:
    """All files below ``repro/configs`` that could be recipes, those with shared parts among them."""
    paths = (path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.py") if path.name != "__init__.py")
    return sorted(str(path) for path in paths if len(path.parts) > 1)


def load(config: str) -> dict[str, Any]:
    """The recipe as it stands in its file, freshly executed, as plain values (its ``scales`` too).

    Raises:
        RecipeError: no such file, it fails when executed, or it holds something that cannot be written down.
    """
    from detectron2.config import LazyConfig

    path = CONFIGS / config
    if not path.is_file():
        raise RecipeError(f"There is no recipe {config}: looked for {path}. {did_you_mean(config, recipes())}")
    original_import = builtins.__import__
    try:
        loaded = LazyConfig.load(str(path))
    except Exception as error:
        raise RecipeError(f"Recipe {config} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        builtins.__import__ = original_import  # Detectron2 leaves its own in place when a recipe raises
    from omegaconf import OmegaConf

    faults: list[str] = []
    plain = _plain(OmegaConf.to_container(loaded, resolve=True), "", faults)
    collect(faults, f"recipe {config}", RecipeError)
    return plain


def _plain(value: Any, key: str, faults: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item, f"{key}.{name}".lstrip("."), faults) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{key}[{index}]", faults) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if key.endswith("_target_") and callable(value):
        return _name_of(value, key, faults)
    faults.append(
        f"{key} is a {type(value).__name__}; a recipe holds numbers, strings, lists, dictionaries and L(...) calls"
    )
    return None


def _name_of(target: Any, key: str, faults: list[str]) -> str:
    name = f"{target.__module__}.{target.__qualname__}"
    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError):
        found = None
    if found is not target:
        faults.append(f"{key} is {name}, which cannot be imported by that name: define it at the top of a module")
    return name


def apply(recipe: dict[str, Any], settings: Mapping[str, Any], where: str) -> list[str]:
    """Set dotted keys in place and return the faults: unknown keys, sections set to values, values of another kind."""
    faults = []
    for key, value in settings.items():
        *sections, last = key.split(".")
        node: Any = recipe
        for section in sections:
            node = node.get(section) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            known = [name for name, _ in dotted(recipe)]
            faults.append(f"{key} is set, which {where} does not have. {did_you_mean(key, known)}")
        elif (complaint := _mismatch(node[last], value)) is not None:
            faults.append(f"{where}: {key} is {complaint}")
        else:
            node[last] = copy.deepcopy(value)
    return faults


def _mismatch(old: Any, new: Any) -> str | None:
    kinds = ((bool, "true or false"), (Number, "a number"), (str, "a text"), (list, "a list"), (dict, "a section"))
    if old is None or new is None:
        return None

    def kind(value: Any) -> str:
        return next((name for type_, name in kinds if isinstance(value, type_)), type(value).__name__)

    return None if kind(old) == kind(new) else f"{kind(old)} ({old!r:.60}) and cannot become {new!r:.60}"


def dotted(recipe: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a nested dictionary with its dots, sections included."""
    for name, value in recipe.items():
        yield prefix + name, value
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{name}.")


def dataset_names(recipe: Mapping[str, Any]) -> list[str]:
    """The data sets that a recipe reads: the values of keys called ``dataset`` in its ``data`` section.

    The rest of a share is none of its own; the files of a share that others drew are among them.
    """
    data = recipe.get("data") or {}
    values = [value for key, value in dotted(data) if key.rpartition(".")[2] == "dataset"]
    names = {name for value in values for name in ([value] if isinstance(value, str) else value or [])}
    return sorted((names - {REST}) | set(split_names(data)))


def split_names(data: Mapping[str, Any]) -> list[str]:
    """The name under which the files of ``data.split`` have a fingerprint; none if it is a way to draw."""
    split = data.get("split")
    return [] if split is None or split in DRAWS else [f"split:{data['percent']:g}:{split}"]


def fingerprints(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Data set name to fingerprint, for all that a recipe reads."""
    from repro.data import datasets

    return {name: datasets.fingerprint(name) for name in dataset_names(recipe)}


def build(node: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Make the object that a resolved recipe, or a part of it, describes.

    Args:
        node: plain values; a dictionary with ``_target_`` is a call, made after the calls inside it.
        args: positional arguments for the outermost call.
        kwargs: keyword arguments for the outermost call, beside the recorded ones.

    Raises:
        RecipeError: the target does not exist, or does not take these arguments.
    """
    if isinstance(node, list | tuple):
        return [build(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    values = {name: build(item) for name, item in node.items() if name != "_target_"}
    if "_target_" not in node:
        return values
    try:
        target = pkgutil.resolve_name(node["_target_"])
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(f"A recipe calls {node['_target_']}, which does not exist: {error}") from error
    try:
        inspect.signature(target).bind(*args, **values, **kwargs)
    except TypeError as error:
        raise RecipeError(f"A recipe calls {node['_target_']} wrongly: {error}") from error
    return target(*args, **values, **kwargs)
