"""torchvision's ResNets: their parameter names to Detectron2's.

Detectron2's own converter script does the same to a pickle; here it is a function from state dictionary to state
dictionary. The published detectors of the DETR family all start from these (stride in the 3×3 convolution, RGB,
ImageNet statistics).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

RULES = (
    (r"^(conv|bn)1\.", r"stem.\g<1>1."),
    (r"^layer(\d)\.", lambda match: f"res{int(match[1]) + 1}."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
)
DROPPED = re.compile(r"^fc\.|\.num_batches_tracked$")


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Detectron2's names (``stem.conv1.weight``, ``res2.0.conv1.norm.bias``); the classifier is left behind."""
    return {rename(name): value for name, value in state.items() if not DROPPED.search(name)}


def rename(name: str) -> str:
    """The name that Detectron2 gives to a parameter of torchvision's ResNet.

    >>> rename("layer1.0.downsample.1.running_mean")
    'res2.0.shortcut.norm.running_mean'
    """
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name
