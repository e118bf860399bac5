"""Multi-scale deformable attention in plain PyTorch: the definition that faster implementations are held to.

It runs on every device and under autograd, ``torch.compile``, ``torch.export`` and ONNX export: GridSample (opset 16
and later) for bilinear sampling, gathers alone for discrete.

The bilinear mode samples each level with ``grid_sample``. Reading the four corners by index and summing them with
``embedding_bag`` is faster in the forward pass (1.5 to 3 times, measured at 16 and 32 channels a head), but at the
sizes that are trained on a CPU its backward pass makes the whole 1.5 to 4 times slower.

The discrete modes follow RT-DETRv2 (Lv et al. 2024, Section 3.2): one pixel a point, ``trunc(location · size + 0.5)``,
half a pixel beyond the nearest one, as its published weights were tuned with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
    points_per_level: Sequence[int],
    mode: str,
) -> Tensor:
    """See :func:`repro.ops.ms_deform_attn.ms_deform_attn`, which checks the arguments."""
    points = list(points_per_level)
    # Images and heads are independent: both become the batch of the sampling. Points come before queries, so that the
    # sum over points runs along the long, contiguous axis: half as slow again the other way round.
    levels = value.permute(0, 2, 3, 1).flatten(0, 1).split([height * width for height, width in spatial_shapes], dim=2)
    locations = sampling_locations.permute(0, 2, 3, 1, 4).flatten(0, 1).split(points, dim=1)
    weights = attention_weights.permute(0, 2, 3, 1).flatten(0, 1).unsqueeze(1).to(value.dtype).split(points, dim=2)
    batch, queries, heads = sampling_locations.shape[:3]
    terms = []
    for (height, width), count, level, where, weight in zip(
        spatial_shapes, points, levels, locations, weights, strict=True
    ):
        if count and height and width and queries:
            feature_map = level.unflatten(2, (height, width))
            sampled = _bilinear(feature_map, where) if mode == "bilinear" else _discrete(feature_map, where, mode)
            terms.append((sampled * weight).sum(2))
    if not terms:  # zeros, and connected: a loss may still be derived
        nothing = sampling_locations[..., :0].sum() + attention_weights[..., :0].sum()
        return value[:, :0].sum(1).flatten(1).unsqueeze(1).repeat(1, queries, 1) + nothing.to(value.dtype)
    return reduce(torch.add, terms).unflatten(0, (batch, heads)).flatten(1, 2).transpose(1, 2).contiguous()


def _bilinear(feature_map: Tensor, locations: Tensor) -> Tensor:
    """Values between pixels, [N, D, P, Q]; pixel centres lie at half-integers, and outside the map there is zero.

    Args:
        feature_map: [N, D, H, W].
        locations: [N, P, Q, 2]. One that is not finite gives NaN.
    """
    # In half precision a location is off by up to half a pixel, so sampling is done in the locations' own type.
    sampled = F.grid_sample(
        feature_map.to(locations.dtype), 2 * locations - 1, padding_mode="zeros", align_corners=False
    )
    return sampled.to(feature_map.dtype)


def _discrete(feature_map: Tensor, locations: Tensor, mode: str) -> Tensor:
    """One pixel for each location, clamped into the map; arguments and result as for :func:`_bilinear`.

    The published code clamps both indices by the height: equal on squares, wrong columns on wide maps, and on tall ones
    it stops. ``discrete`` does the same, but on tall maps keeps to the last column; ``discrete_per_axis`` clamps each
    index by its own axis.
    """
    channels, height, width = feature_map.shape[1:]
    x, y = locations.detach().unbind(-1)
    columns = min(height, width) if mode == "discrete" else width
    column, row = _clamped(x * width + 0.5, columns - 1), _clamped(y * height + 0.5, height - 1)
    index = (row * width + column).flatten(1).unsqueeze(1).expand(-1, channels, -1)
    return feature_map.flatten(2).gather(2, index).unflatten(2, locations.shape[1:3])


def _clamped(pixel: Tensor, last: int) -> Tensor:
    """The integer part between 0 and ``last``. Clamped twice: huge numbers before the conversion, NaN after it."""
    return pixel.clamp(0, last).long().clamp(0, last)
