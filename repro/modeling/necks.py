"""Necks: from a backbone's maps to maps of the transformer's channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn


class SingleMap(nn.Module):
    """One 1×1 convolution on one map, without a norm (Carion et al. 2020, Section 3.2).

    Args:
        in_feature: name of the backbone's map.
        in_channels: its channels.
        out_channels: the transformer's.
    """

    def __init__(self, in_feature: str = "res5", in_channels: int = 2048, out_channels: int = 256) -> None:
        super().__init__()
        self.in_feature = in_feature
        self.input_proj = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Mapping[str, Tensor]) -> list[Float[Tensor, "B C _h _w"]]:
        """A list of one map, as other necks return several."""
        return [self.input_proj(features[self.in_feature])]


class ChannelMapper(nn.Module):
    """A 1×1 convolution for each map, and 3×3 ones of stride 2 on the last map for the levels beyond.

    Deformable DETR (Zhu et al. 2021, appendix A.4).
    The first extra level reads the backbone's last map itself, not its projection; further ones read the level before.

    Args:
        in_features: names of the backbone's maps, finest first.
        in_channels: their channels.
        out_channels: channels of every level.
        num_levels: number of levels, at least one for each map.
        num_groups: of the group normalisation that follows each convolution.
    """

    def __init__(
        self,
        in_features: Sequence[str],
        in_channels: Sequence[int],
        out_channels: int = 256,
        num_levels: int = 4,
        num_groups: int = 32,
    ) -> None:
        super().__init__()
        if len(in_features) != len(in_channels):
            raise ValueError(f"in_features names {len(in_features)} maps, in_channels {len(in_channels)}")
        if num_levels < len(in_features):
            raise ValueError(f"num_levels is {num_levels}, but in_features names {len(in_features)} maps")
        self.in_features, self.in_channels = tuple(in_features), tuple(in_channels)
        self.out_channels, self.num_levels = out_channels, num_levels
        layers = [nn.Conv2d(channels, out_channels, 1) for channels in in_channels]
        extra_channels = [in_channels[-1], *[out_channels] * num_levels]
        layers += [
            nn.Conv2d(extra_channels[i], out_channels, 3, stride=2, padding=1)
            for i in range(num_levels - len(in_features))
        ]
        self.input_proj = nn.ModuleList(nn.Sequential(conv, nn.GroupNorm(num_groups, out_channels)) for conv in layers)
        for projection in self.input_proj:
            nn.init.xavier_uniform_(projection[0].weight)
            nn.init.zeros_(projection[0].bias)

    def forward(self, features: Mapping[str, Tensor]) -> list[Float[Tensor, "B C _h _w"]]:
        """One map a level, finest first."""
        maps = [features[name] for name in self.in_features]
        projected = [project(x) for project, x in zip(self.input_proj, maps, strict=False)]
        last = maps[-1]
        for project in self.input_proj[len(maps) :]:
            last = project(last)
            projected.append(last)
        return projected
