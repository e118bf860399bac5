"""Multi-scale deformable attention: the one entry that every detector calls.

Each query looks at a few points of each feature level, in each head, and sums the values found there with its
attention weights (Zhu et al. 2021, "Deformable DETR", equation 3). ``reference.py`` holds the definition in plain
PyTorch.

Three differences from the published operator. The points of all levels lie side by side in one axis, so that levels may
have different numbers of points (RT-DETRv2); values of different images need not come in multiples of an internal step;
and the sizes of the levels are Python integers, so that nothing waits for the device and exporters see constants.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from . import reference

__all__ = ["MODES", "level_starts", "ms_deform_attn"]

MODES = ("bilinear", "discrete")


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]] | Tensor,
    level_start_index: Sequence[int] | Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    *,
    points_per_level: Sequence[int],
    mode: str = "bilinear",
) -> Tensor:
    """Weighted sums of values read at ``sampling_locations``.

    Args:
        value: [B, S, M, D]: S tokens over all levels, M heads of D channels. Zero where the image was padded.
        spatial_shapes: (height, width) of each of the L levels; a tensor [L, 2] is read back to the host.
        level_start_index: where each level starts among the S tokens, see :func:`level_starts`.
        sampling_locations: [B, Q, M, P, 2]: (x, y), where 0 and 1 are the outer edges of the first and the last pixel.
            P counts the points of all levels together, level by level: the first ``points_per_level[0]`` read level 0.
        attention_weights: [B, Q, M, P], in the same order.
        points_per_level: number of points on each level; sums to P.
        mode: ``bilinear`` reads between pixels and 0 outside the map; ``discrete`` reads one pixel, the nearest one
            inside the map after RT-DETRv2's rounding, and passes no gradient to the locations.

    Returns:
        [B, Q, M·D].

    Raises:
        ValueError: a shape does not fit the others, or ``mode`` does not exist.
    """
    shapes = [(int(height), int(width)) for height, width in spatial_shapes]
    starts = [int(start) for start in level_start_index]
    points = [int(count) for count in points_per_level]
    _check(value, shapes, starts, sampling_locations, attention_weights, points, mode)
    return reference.ms_deform_attn(value, shapes, sampling_locations, attention_weights, points, mode)


def level_starts(spatial_shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Index of each level's first token when levels lie one after another.

    >>> level_starts([(2, 3), (1, 2)])
    [0, 6]
    """
    starts = [0]
    for height, width in spatial_shapes[:-1]:
        starts.append(starts[-1] + height * width)
    return starts


def _check(
    value: Tensor,
    shapes: list[tuple[int, int]],
    starts: list[int],
    locations: Tensor,
    weights: Tensor,
    points: list[int],
    mode: str,
) -> None:
    """Name the argument that does not fit, its shape, and what was expected."""
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; expected one of {', '.join(MODES)}")
    if value.ndim != 4:
        raise ValueError(f"value has shape {list(value.shape)}; expected [B, S, M, D]")
    batch, tokens, heads, _ = value.shape
    if tokens != _area(shapes):
        raise ValueError(f"value has {tokens} tokens, but spatial_shapes {shapes} need {_area(shapes)}")
    if starts != level_starts(shapes):
        raise ValueError(f"level_start_index is {starts}; spatial_shapes {shapes} expect {level_starts(shapes)}")
    if len(points) != len(shapes):
        raise ValueError(f"points_per_level is {points}; expected one number for each of {len(shapes)} levels")
    queries = locations.shape[1] if locations.ndim == 5 else -1
    expected = [batch, queries, heads, sum(points), 2]
    if list(locations.shape) != expected:
        expected[1] = "Q"
        raise ValueError(f"sampling_locations has shape {list(locations.shape)}; expected {_text(expected)}")
    if list(weights.shape) != expected[:-1]:
        raise ValueError(f"attention_weights has shape {list(weights.shape)}; expected {_text(expected[:-1])}")


def _area(shapes: list[tuple[int, int]]) -> int:
    return sum(height * width for height, width in shapes)


def _text(sizes: list[int | str]) -> str:
    return "[" + ", ".join(map(str, sizes)) + "]"
