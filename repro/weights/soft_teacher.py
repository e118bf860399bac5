"""Released Soft Teachers (mmdetection 2 and 3): their parameter names to ours and back.

The files hold ``state_dict`` beside ``meta`` and often the state of training; the state dictionary holds ``student.``
and ``teacher.``, each a detector of `faster_rcnn`. One without these, of a plain detector, is put into both, as the
released loader does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from repro.errors import StageError
from repro.weights import faster_rcnn

PARTS = ("student.", "teacher.")


def convert(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Our names, ``student.`` and ``teacher.``, for a released file's content or the state dictionary within it.

    Raises:
        StageError: see `faster_rcnn.convert`; or it holds one of the two only.
    """
    state = checkpoint.get("state_dict", checkpoint)
    branches = {part: _without(state, part) for part in PARTS}
    found = [part for part, weights in branches.items() if weights]
    if not found:
        branches = dict.fromkeys(PARTS, state)
    elif len(found) == 1:
        raise StageError(f"The file holds weights of the {found[0][:-1]} and none of the other")
    return {
        part + name: value for part, weights in branches.items() for name, value in faster_rcnn.convert(weights).items()
    }


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their names for our weights."""
    return {
        part + name: value for part in PARTS for name, value in faster_rcnn.to_published(_without(state, part)).items()
    }


def _without(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
