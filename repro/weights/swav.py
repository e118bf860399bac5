"""SwAV's ResNet-50 (Caron et al. 2020, `swav_800ep_pretrain.pth.tar`): its parameter names to Detectron2's.

The file holds the network as it was trained: names with a ``module.`` prefix, torchvision's otherwise, and a projection
head and prototypes that no detector uses.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from repro.weights import torchvision_resnet

DROPPED = ("projection_head.", "prototypes.")


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Detectron2's names; projection head and prototypes are left behind."""
    bare = {name.removeprefix("module."): value for name, value in state.items()}
    return torchvision_resnet.convert({name: value for name, value in bare.items() if not name.startswith(DROPPED)})
