"""The name of a stage: a hash of all that can change its result.

Twelve hex digits of SHA-256 over canonical JSON of the kind, the resolved recipe (its ``revision`` with it), the seed,
the parents' signatures and the data sets' fingerprints. The recipe enters by its own hash, so that a plan of many
thousand stages walks each distinct recipe once.

Two recipes are the same when they differ only in what `EXCLUDED` lists, in the order of their keys, in how a number is
written (``2`` or ``2.0``), or in the module that a ``_target_`` lives in: registered names are unique, so a class may
move without renaming what was trained with it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from repro.errors import RecipeError

DIGITS = 12

EXCLUDED = (
    "cost",  # what a stage is expected to cost is not what it computes
    "*.workers",
    "*.num_workers",
    "propose.shards",  # how the work is shared out
    "label.shards",
    "*.pin_memory",
    "*.cache_images",
    "*.log_period",
    "*.checkpoint_period",  # a resumed run gives the same result as an uninterrupted one
    "*.progress_period",
    "*.root",
    "*.output",
    "*.device",
    "*.gpus",
)
"""Settings that cannot change a result, as dotted patterns: ``*.`` stands for any sections above, or none."""


def signature(
    kind: str, recipe: Mapping[str, Any], seed: int, parents: Mapping[str, str], datasets: Mapping[str, str]
) -> str:
    """Return the name of a stage.

    Args:
        kind: Kind of stage, e.g. "finetune".
        recipe: Resolved recipe: dictionaries, lists, numbers, strings, booleans and None.
        seed: The stage's own seed.
        parents: Name to signature of the stages it starts from.
        datasets: Name to fingerprint of the data sets it reads.

    Raises:
        RecipeError: the recipe holds something that is not plain.
    """
    return combine(kind, digest(recipe), seed, parents, datasets)


def combine(kind: str, recipe_digest: str, seed: int, parents: Mapping[str, str], datasets: Mapping[str, str]) -> str:
    """``signature`` for a recipe whose ``digest`` is known."""
    content = {"kind": kind, "recipe": recipe_digest, "seed": seed, "parents": parents, "datasets": datasets}
    return hashlib.sha256(_json(content).encode()).hexdigest()[:DIGITS]


def digest(recipe: Mapping[str, Any]) -> str:
    """Return the hash of what matters in a recipe."""
    return hashlib.sha256(_json(canonical(recipe)).encode()).hexdigest()


def canonical(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe without excluded keys, numbers in one notation, targets by their last name.

    Raises:
        RecipeError: a value is not plain; its key is named.
    """
    plain = _canonical(recipe, "")
    assert isinstance(plain, dict)
    return plain


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return where two recipes differ in what matters: dotted key, value in ``a``, value in ``b``; None where absent.

    >>> differences({"train": {"epochs": 5, "workers": 2}}, {"train": {"epochs": 50}})
    [('train.epochs', 5, 50)]
    """
    left, right = flatten(canonical(a)), flatten(canonical(b))
    keys = [*left, *(key for key in right if key not in left)]
    absent = object()
    return [
        (key, left.get(key), right.get(key)) for key in keys if not _same(left.get(key, absent), right.get(key, absent))
    ]


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return dotted keys for nested ones; lists, and dictionaries without keys, are values.

    >>> flatten({"train": {"epochs": 5, "warmup": {}}})
    {'train.epochs': 5, 'train.warmup': {}}
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _same(a: object, b: object) -> bool:
    return type(a) is type(b) and a == b


def _canonical(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        kept = {str(name): (item, f"{key}.{name}" if key else str(name)) for name, item in value.items()}
        return {
            name: item.rpartition(".")[2] if name == "_target_" and isinstance(item, str) else _canonical(item, dotted)
            for name, (item, dotted) in kept.items()
            if not _excluded(dotted)
        }
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{key}[]") for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    what = value if isinstance(value, float) else type(value).__name__
    raise RecipeError(f"{key} is {what}; a recipe consists of finite numbers, text, lists and dictionaries")


def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    alternatives = (
        r"(?:.*\.)?" + re.escape(pattern[2:]) if pattern.startswith("*.") else re.escape(pattern)
        for pattern in patterns
    )
    return re.compile("|".join(alternatives))


_EXCLUDED = _pattern(EXCLUDED)


def _excluded(dotted: str) -> bool:
    return _EXCLUDED.fullmatch(dotted) is not None


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
