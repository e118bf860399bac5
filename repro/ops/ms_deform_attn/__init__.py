"""Multi-scale deformable attention: the one entry that every detector calls.

Each query looks at a few points of each feature level, in each head, and sums the values found there with its
attention weights (Zhu et al. 2021, "Deformable DETR", equation 3). ``reference.py`` holds the definition in plain
PyTorch; C++ and CUDA kernels in ``csrc`` compute the same, and serve when ``repro ops build`` has compiled them.

Three differences from the published operator. The points of all levels lie side by side in one axis, so that levels may
have different numbers of points (RT-DETRv2); values of different images need not come in multiples of an internal step;
and the sizes of the levels are Python integers, so that nothing waits for the device and exporters see constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import index
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import native, reference

__all__ = ["MODES", "implementation", "level_starts", "ms_deform_attn", "ran"]

MODES = ("bilinear", "discrete", "discrete_per_axis")
IMPLEMENTATIONS = ("auto", "native", "reference")

ran: set[str] = set()
"""Implementations that served calls of this process, for whoever writes down how a result came about."""

_wanted = "auto"


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

    All tensors are contiguous and on one device. With float64 values, locations and weights are float64; with float32,
    float16 or bfloat16 values, locations are float32, since half precision moves them by up to half a pixel, and
    weights are float32 or of the values' type.

    Args:
        value: [B, S, M, D]: S tokens over all levels, M heads of D channels. Zero where the image was padded.
        spatial_shapes: (height, width) of each of the L levels; a tensor [L, 2] is read back to the host.
        level_start_index: where each level starts among the S tokens, see :func:`level_starts`.
        sampling_locations: [B, Q, M, P, 2]: (x, y), where 0 and 1 are the outer edges of the first and the last pixel.
            P counts the points of all levels together, level by level: the first ``points_per_level[0]`` read level 0.
        attention_weights: [B, Q, M, P], in the same order.
        points_per_level: number of points on each level; sums to P.
        mode: ``bilinear`` reads between pixels and 0 outside the map, like ``grid_sample`` without aligned corners.
            ``discrete`` reads one pixel, after RT-DETRv2's rounding, and passes no gradient to the locations; as in
            its published code columns are clamped by the *height*, which is right on square maps only.
            ``discrete_per_axis`` mends that.

    Returns:
        [B, Q, M·D], of the values' type.

    Raises:
        ValueError: a shape does not fit the others, a tensor is not contiguous or on another device, or ``mode`` does
            not exist.
        TypeError: an argument is not what it should be, or a tensor's type does not fit the values' type.
    """
    _check_are_tensors(value=value, sampling_locations=sampling_locations, attention_weights=attention_weights)
    shapes = _pairs(spatial_shapes)
    starts = _counts("level_start_index", level_start_index)
    points = _counts("points_per_level", points_per_level)
    _check_shapes(value, shapes, starts, sampling_locations, attention_weights, points, mode)
    _check_tensors(value, sampling_locations, attention_weights)
    if _chosen(value) == "reference":
        return reference.ms_deform_attn(value, shapes, sampling_locations, attention_weights, points, mode)
    sizes = [size for shape in shapes for size in shape]
    return torch.ops.repro.ms_deform_attn(value, sampling_locations, attention_weights, sizes, points, mode)


def level_starts(spatial_shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Index of each level's first token when levels lie one after another.

    >>> level_starts([(2, 3), (1, 2)])
    [0, 6]
    """
    starts = [0]
    for height, width in spatial_shapes[:-1]:
        starts.append(starts[-1] + height * width)
    return starts


@contextmanager
def implementation(name: str) -> Iterator[None]:
    """Within the block, use one implementation; ``auto`` takes the native one where there is a kernel.

    Args:
        name: ``auto``, ``native`` (a RuntimeError without a kernel) or ``reference``.

    Raises:
        ValueError: there is no such implementation.
    """
    global _wanted
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"implementation is {name!r}; expected one of {', '.join(IMPLEMENTATIONS)}")
    before, _wanted = _wanted, name
    try:
        yield
    finally:
        _wanted = before


def _chosen(value: Tensor) -> str:
    """The implementation that such values get."""
    device, dtype = value.device.type, value.dtype
    if _wanted == "reference" or torch.onnx.is_in_onnx_export() or _transformed():
        return _noted("reference")
    if native.serves(device, dtype):
        return _noted("native")
    if _wanted == "native":
        raise RuntimeError(f"no kernel for {dtype} values on {device}; repro doctor says what is built")
    return _noted("reference")


@torch.compiler.assume_constant_result
def _noted(name: str) -> str:
    ran.add(name)
    return name


def _transformed() -> bool:
    """Inside forward-mode differentiation or a transform of ``torch.func``, for which the kernel has no rules."""
    if torch.compiler.is_compiling():
        return False
    return forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None


def _pairs(spatial_shapes: Any) -> list[tuple[int, int]]:
    """Sizes of the levels as numbers."""
    expected = "(height, width) of each level"
    if not isinstance(spatial_shapes, Tensor | Sequence):
        raise TypeError(f"spatial_shapes is {spatial_shapes!r}; expected {expected}")
    levels = spatial_shapes.tolist() if isinstance(spatial_shapes, Tensor) else spatial_shapes
    shapes = [_counts("spatial_shapes", level, expected) for level in levels]
    if any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"spatial_shapes is {shapes}; expected {expected}")
    return [(height, width) for height, width in shapes]


def _counts(name: str, given: Any, expected: str = "whole numbers, none negative") -> list[int]:
    """Numbers that count something, from a sequence or a tensor."""
    try:
        counts = given.tolist() if isinstance(given, Tensor) else list(given)
        counts = [count if isinstance(count, int | torch.SymInt) else index(count) for count in counts]
    except TypeError:
        raise TypeError(f"{name} holds {given}; expected {expected}") from None
    if any(count < 0 for count in counts):
        raise ValueError(f"{name} holds {given}; expected {expected}")
    return counts


def _check_are_tensors(**given: Any) -> None:
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} is a {type(tensor).__name__}; expected a tensor")


def _check_shapes(
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
        told = f"sampling_locations has shape {list(locations.shape)}; expected {_text(expected)}"
        raise ValueError(f"{told}, levels and points in one axis" if locations.ndim == 6 else told)
    if list(weights.shape) != expected[:-1]:
        raise ValueError(f"attention_weights has shape {list(weights.shape)}; expected {_text(expected[:-1])}")


def _check_tensors(value: Tensor, locations: Tensor, weights: Tensor) -> None:
    """Name the tensor whose type, device or layout does not fit."""
    exact = torch.float64 if value.dtype == torch.float64 else torch.float32
    allowed = {
        "value": (value, (torch.float64, torch.float32, torch.float16, torch.bfloat16)),
        "sampling_locations": (locations, (exact,)),
        "attention_weights": (weights, (exact, value.dtype)),
    }
    for name, (tensor, dtypes) in allowed.items():
        shape = list(tensor.shape)
        if tensor.dtype not in dtypes:
            known = " or ".join(dict.fromkeys(str(dtype).removeprefix("torch.") for dtype in dtypes))
            beside = "" if tensor is value else f"beside {_plain(value)} values "
            raise TypeError(f"{name}, of shape {shape}, is {_plain(tensor)}; {beside}expected {known}")
        if tensor.device != value.device:
            raise ValueError(f"{name}, of shape {shape}, is on {tensor.device}; expected {value.device}, like value")
        if not tensor.is_contiguous():
            strides = list(tensor.stride())
            raise ValueError(f"{name}, of shape {shape}, has strides {strides}; expected a contiguous tensor")


def _plain(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _area(shapes: list[tuple[int, int]]) -> int:
    return sum(height * width for height, width in shapes)


def _text(sizes: list[int | str]) -> str:
    return "[" + ", ".join(map(str, sizes)) + "]"
