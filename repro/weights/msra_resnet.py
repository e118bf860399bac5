"""MSRA's first ResNets (He et al. 2016), as Detectron2 publishes them (`R-50.pkl`, …): Caffe2's names to ours.

Their batch normalisation is a scale and a shift, with the statistics worked in: mean 0, and a variance that is 1
together with the epsilon that is added to it. The first convolution has a bias, which is zero there and which nobody
uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

EPSILON = 1e-5
"""Of Detectron2's ``FrozenBatchNorm2d``."""

RULES = (
    (r"^(?:res_)?conv1_", "stem.conv1_"),
    (r"^(res\d)_(\d+)_branch2([abc])_", lambda m: f"{m[1]}.{m[2]}.conv{'abc'.index(m[3]) + 1}_"),
    (r"^(res\d)_(\d+)_branch1_", r"\1.\2.shortcut_"),
    (r"_bn_s$", ".norm.weight"),
    (r"_bn_b$", ".norm.bias"),
    (r"_w$", ".weight"),
)
DROPPED = re.compile(r"^(fc1000|pred)_|_momentum$|^conv1_b$")


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Detectron2's names (``stem.conv1.weight``, ``res2.0.conv1.norm.bias``), with statistics; no classifier."""
    renamed = {rename(name): value for name, value in state.items() if not DROPPED.search(name)}
    for name in [name for name in renamed if name.endswith(".norm.weight")]:
        prefix = name.removesuffix("weight")
        renamed[f"{prefix}running_mean"] = torch.zeros_like(renamed[name])
        renamed[f"{prefix}running_var"] = torch.full_like(renamed[name], 1 - EPSILON)
    return renamed


def rename(name: str) -> str:
    """The name that Detectron2 gives to one of Caffe2's blobs.

    >>> rename("res3_0_branch2b_bn_s")
    'res3.0.conv2.norm.weight'
    """
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name
