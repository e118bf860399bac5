"""A backbone and its projection head, as contrastive pretraining leaves them: crops to points on a sphere.

DETReg's other target encoder (Bar et al. 2022, code only: ``obj_embedding_head=head``): SwAV's whole network, whose 128
normalised numbers take the place of res3's 512 averages. The authors' code leaves its batch norm in training mode, so
that their targets depend on the batch; here statistics are those of SwAV's training.
"""

from __future__ import annotations

import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from jaxtyping import Float
from torch import Tensor, nn

from repro.layers.transparent import make_transparent


class ProjectedEncoder(nn.Module):
    """A backbone whose last map is averaged, projected and normalised. Its weights have the backbone's own names.

    Args:
        backbone: images to a dictionary of feature maps; the last is used.
        dim: of the projection; SwAV's 128.
    """

    def __init__(self, backbone: nn.Module, dim: int = 128) -> None:
        super().__init__()
        self.backbone, self.dim = backbone, dim
        self.projection = projection_head(list(backbone.output_shape().values())[-1].channels, dim)
        make_transparent(self, "backbone")

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> dict[str, Float[Tensor, "N D 1 1"]]:
        """The map ``projection``, of one pixel."""
        features = list(self.backbone(images).values())[-1].mean((2, 3))
        return {"projection": F.normalize(self.projection(features), dim=1)[..., None, None]}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels of ``projection``."""
        return {"projection": ShapeSpec(channels=self.dim)}


def projection_head(channels: int, dim: int) -> nn.Sequential:
    """SwAV's projection (Caron et al. 2020, Section 4): one hidden layer as wide as what goes in."""
    return nn.Sequential(
        nn.Linear(channels, channels), nn.BatchNorm1d(channels), nn.ReLU(inplace=True), nn.Linear(channels, dim)
    )
