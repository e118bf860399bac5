"""Swin's published checkpoints (github.com/microsoft/Swin-Transformer): their names → those of `repro.modeling.swin`.

The classifier and the norm before it are left out, and what follows from the sizes of the windows (indices, masks).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_FOLLOWS = ("relative_position_index", "attn_mask")


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of a backbone with all four stages, without norms of its own.

    A stage's merging of patches stands at its end there, and at the beginning of the next one here.
    """
    converted = {}
    for name, value in state.items():
        if name.split(".")[0] in ("head", "norm") or name.endswith(_FOLLOWS):
            continue
        name = re.sub(r"^layers\.(\d+)\.downsample", lambda found: f"layers.{int(found[1]) + 1}.downsample", name)
        converted["body.net." + re.sub(r"^layers\.", "layers_", name)] = value
    return converted
