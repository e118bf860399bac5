"""SwAV's ResNet-50 with its projection head (Caron et al. 2020): the names of the published file to ours."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from repro.weights import swav

HEAD = "module.projection_head."


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Detectron2's names for the backbone, ``projection.`` for the head; the prototypes are left behind."""
    head = {f"projection.{n.removeprefix(HEAD)}": value for n, value in state.items() if n.startswith(HEAD)}
    counter = {"projection.1.num_batches_tracked": torch.tensor(0)}  # not in all files
    return {**swav.convert(state), **counter, **head}
