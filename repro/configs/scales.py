"""How the files in ``configs/common`` say what they are at a smaller scale, and how a recipe puts these together.

A scale is a dictionary from dotted key to value. ``paper`` is the recipe as it stands; ``small``, ``tiny`` and
``smoke`` each start from the one before (`repro.engine.config.resolve`). They only merge values into the recipe: the
classes are the same. A scale's value goes over what a row or column of a table sets, such as a number of epochs; with
a question mark before its key (``?model.threshold``) it gives way instead, for settings that a table may vary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Scales = Mapping[str, Mapping[str, Any]]


def combine(*parts: Scales) -> dict[str, dict[str, Any]]:
    """One dictionary out of several; where two set the same key of the same scale, the later one counts.

    >>> combine({"tiny": {"train.epochs": 2}}, {"tiny": {"?train.epochs": 3}})
    {'tiny': {'?train.epochs': 3}}
    """
    combined: dict[str, dict[str, Any]] = {}
    for part in parts:
        for scale, values in part.items():
            own = combined.setdefault(scale, {})
            for key, value in values.items():
                own.pop(key[1:] if key.startswith("?") else f"?{key}", None)
                own[key] = value
    return combined


def moved(scales: Scales, old: str, new: str) -> dict[str, dict[str, Any]]:
    """The same values for a section that the recipe has put elsewhere.

    >>> moved({"tiny": {"model.num_queries": 30, "?model.threshold": 0.7}}, "model", "model.detector")
    {'tiny': {'model.detector.num_queries': 30, '?model.detector.threshold': 0.7}}
    """

    def renamed(key: str) -> str:
        mark, bare = key[: key.startswith("?")], key.removeprefix("?")
        return mark + (new + bare.removeprefix(old) if f"{bare}.".startswith(f"{old}.") else bare)

    return {scale: {renamed(key): value for key, value in values.items()} for scale, values in scales.items()}


def without(scales: Scales, *keys: str) -> dict[str, dict[str, Any]]:
    """The same scales, leaving these keys to the recipe: a data set of one's own stays what it is at every scale.

    >>> without({"tiny": {"data.dataset": "shapes_tiny_train", "?data.workers": 0}}, "data.dataset")
    {'tiny': {'?data.workers': 0}}
    """
    return {
        scale: {key: value for key, value in values.items() if key.removeprefix("?") not in keys}
        for scale, values in scales.items()
    }
