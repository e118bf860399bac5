"""The name of a stage: a hash of everything that can change its result, and of nothing else.

The resolved recipe is hashed, not its text and not its difference to a base: refactoring a recipe keeps the name, a
changed value changes it, and a baseline that two papers ask for is trained once. Raise the recipe's ``revision`` when
code was fixed and old results are void.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from repro.errors import RecipeError

LENGTH = 12  # hex digits: at a million stages, two share a name with probability 0.2 %

EXCLUDED = (
    "*.workers",
    "*.num_workers",
    "*.cache_images",
    "*.pin_memory",
    "train.log_period",
    "train.checkpoint_period",
    "train.progress_period",
    "*.gpus",
    "*.device",
    "*.root",
    "cost.*",
)
"""Dotted patterns of recipe keys that cannot change a result."""


def signature(
    kind: str, recipe: Mapping[str, Any], seed: int, parents: Mapping[str, str], datasets: Mapping[str, str]
) -> str:
    """Name a stage.

    Args:
        kind: What the engine does with the recipe.
        recipe: The resolved recipe.
        seed: Of initialisation, sampling and augmentation.
        parents: Signature by the parent's name.
        datasets: Fingerprint by the data set's name.

    Returns:
        Twelve hex digits.

    Raises:
        RecipeError: the recipe holds something that JSON cannot.
    """
    return combine(kind, digest(recipe), seed, parents, datasets)


def combine(kind: str, recipe: str, seed: int, parents: Mapping[str, str], datasets: Mapping[str, str]) -> str:
    """``signature`` for a recipe that is hashed already: a plan hashes each distinct recipe once."""
    content = {"kind": kind, "recipe": recipe, "seed": seed, "parents": dict(parents), "datasets": dict(datasets)}
    return hashlib.sha256(_json(content)).hexdigest()[:LENGTH]


def digest(recipe: Mapping[str, Any]) -> str:
    """Hash of what matters in a recipe.

    Raises:
        RecipeError: the recipe holds something that JSON cannot.
    """
    try:
        return hashlib.sha256(_json(canonical(recipe))).hexdigest()
    except (TypeError, ValueError) as error:
        raise RecipeError(f"a recipe must consist of numbers, text, lists and dictionaries: {error}") from None


def canonical(value: Any, prefix: str = "") -> Any:
    """The part of a resolved recipe that is hashed.

    Excluded keys are left out, and a target counts by its own name alone, so that moving a class to another module
    keeps every signature (a test keeps those names unique).
    """
    if isinstance(value, Mapping):
        kept: dict[str, Any] = {}
        for key, item in value.items():
            path = f"{prefix}.{key}" if prefix else str(key)
            if excluded(path):
                continue
            kept[str(key)] = str(item).rpartition(".")[2] if key == "_target_" else canonical(item, path)
        return kept
    if isinstance(value, list | tuple):
        return [canonical(item, f"{prefix}.{index}") for index, item in enumerate(value)]
    return value


def excluded(path: str) -> bool:
    """Whether a dotted key cannot change a result."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in EXCLUDED)


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Dotted keys in which two recipes differ in what is hashed, with both values; None stands for an absent key."""
    left, right = dict(_flat(canonical(ours))), dict(_flat(canonical(theirs)))
    return [
        (key, left.get(key), right.get(key))
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    ]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _json(content: Any) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()
