"""RT-DETR's backbones on ImageNet: ResNet-vd, converted from PaddleClas by RT-DETR's authors.

The files hold the network's own names and nothing else; counters of batch normalisation, where there are any, are left
behind, since detectors that freeze it have none.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of :class:`repro.modeling.presnet.PResNet`."""
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
