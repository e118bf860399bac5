"""Random inputs of every kind for multi-scale deformable attention, and what the reference makes of them in float64.

For tests, the self-check and whoever writes a kernel; needs PyTorch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from repro.ops.ms_deform_attn import MODES, implementation, level_starts, ms_deform_attn, reference

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 5e-3}
"""Greatest relative error of a result of such a type, in the 2-norm, from float64 with the same rounded inputs."""

LAYOUTS: tuple[tuple[tuple[tuple[int, int], ...], tuple[int, ...]], ...] = (
    (((6, 9), (3, 5), (2, 2)), (4, 4, 4)),  # RT-DETRv2
    (((8, 5), (4, 3), (2, 2), (1, 1)), (4, 4, 4, 4)),  # Deformable DETR, in small, and a level of one pixel
    (((5, 7), (7, 3), (2, 1)), (3, 6, 3)),  # a number for each level, maps wide and tall
    (((4, 4),), (1,)),
    (((3, 2), (1, 5), (0, 4), (2, 2), (1, 1), (6, 1)), (1, 0, 2, 3, 1, 2)),  # more than four levels, one without pixels
)
"""Sizes of the levels, and how many points read each."""


@dataclass(frozen=True)
class Case:
    """Sizes and types of one comparison."""

    mode: str
    dtype: torch.dtype
    channels: int
    shapes: tuple[tuple[int, int], ...]
    points: tuple[int, ...]
    batch: int = 2
    queries: int = 7
    heads: int = 2
    half_weights: bool = False

    def __str__(self) -> str:
        kind = str(self.dtype).removeprefix("torch.")
        weights = ", half weights" if self.half_weights else ""
        return f"{self.mode} {kind} Q={self.queries} M={self.heads} D={self.channels} points={self.points}{weights}"


class Inputs(NamedTuple):
    value: Tensor
    locations: Tensor
    weights: Tensor
    grad_output: Tensor


class Results(NamedTuple):
    """What forward and backward give; the discrete modes have no gradient of the locations."""

    output: Tensor
    grad_value: Tensor
    grad_locations: Tensor | None
    grad_weights: Tensor


Kernel = Callable[[Case, Inputs], Results]


def cases(dtypes: Sequence[torch.dtype]) -> Iterator[Case]:
    """All modes and head dimensions: those with kernels of their own, those with 16-byte vectors, and odd ones."""
    for index, (dtype, channels, mode) in enumerate(product(dtypes, (16, 32, 64, 40, 72, 5, 1), MODES)):
        shapes, points = LAYOUTS[index % len(LAYOUTS)]
        heads, half = (1, 2, 3, 8)[index // 2 % 4], dtype.itemsize == 2 and index % 2 == 1
        tokens = sum(height * width for height, width in shapes)
        batch, queries = (1, tokens) if index // 3 % 7 == 0 else (2, 7)  # every token asks, as in an encoder, or a few
        yield Case(mode, dtype, channels, shapes, points, batch, queries, heads, half)


def small(mode: str, dtype: torch.dtype = torch.float64, channels: int = 4) -> Case:
    """A case small enough for numerical derivatives, with unequal points."""
    return Case(mode, dtype, channels, ((3, 4), (2, 2)), (2, 1), batch=1, queries=3)


def make_inputs(case: Case, device: str = "cpu", seed: int = 0) -> Inputs:
    """Random tensors. Locations reach two pixels beyond the maps, and keep a hundredth of a pixel from pixel centres.

    There the bilinear weights have a kink and the discrete rule jumps, so that rounding alone would decide.
    """
    random = torch.Generator().manual_seed(seed)
    exact = torch.float64 if case.dtype == torch.float64 else torch.float32
    tokens, points = sum(height * width for height, width in case.shapes), sum(case.points)
    pairs = (case.batch, case.queries, case.heads)
    sizes = torch.tensor([shape[::-1] for shape in case.shapes], dtype=torch.float64)
    sizes = sizes.repeat_interleave(torch.tensor(case.points), dim=0)
    corner = torch.rand(*pairs, points, 2, generator=random, dtype=torch.float64) * (sizes + 4) - 2.5
    share = 0.01 + 0.98 * torch.rand(*pairs, points, 2, generator=random, dtype=torch.float64)
    locations = (corner.round() + share + 0.5) / sizes.clamp(min=1)
    value = torch.randn(case.batch, tokens, case.heads, case.channels, generator=random, dtype=torch.float64)
    weights = torch.rand(*pairs, points, generator=random, dtype=torch.float64)
    grad = torch.randn(case.batch, case.queries, case.heads * case.channels, generator=random, dtype=torch.float64)
    weight_type = case.dtype if case.half_weights else exact
    return Inputs(
        value.to(device, case.dtype),
        locations.to(device, exact),
        weights.to(device, weight_type),
        grad.to(device, case.dtype),
    )


def expected(case: Case, inputs: Inputs) -> Results:
    """The reference's results in float64, on the CPU."""
    value, locations, weights = (
        tensor.detach().cpu().double().requires_grad_(index != 1 or case.mode == "bilinear")
        for index, tensor in enumerate(inputs[:3])
    )
    output = reference.ms_deform_attn(value, case.shapes, locations, weights, case.points, case.mode)
    wanted = [value, weights] + ([locations] if case.mode == "bilinear" else [])
    grads = torch.autograd.grad(output, wanted, inputs.grad_output.cpu().double())
    return Results(output.detach(), grads[0], grads[2] if len(grads) > 2 else None, grads[1])


def operator(case: Case, inputs: Inputs) -> Results:
    """The native operator's results through autograd."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs[:3]]
    with implementation("native"):
        output = call(case, *leaves)
    wanted = [leaves[0], leaves[2]] + ([leaves[1]] if case.mode == "bilinear" else [])
    grads = torch.autograd.grad(output, wanted, inputs.grad_output)
    return Results(output.detach(), grads[0], grads[2] if len(grads) > 2 else None, grads[1])


def call(case: Case, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """The public entry, with a case's sizes."""
    shapes = list(case.shapes)
    starts = level_starts(shapes)
    return ms_deform_attn(value, shapes, starts, locations, weights, points_per_level=list(case.points), mode=case.mode)


def sizes_of(case: Case) -> list[int]:
    """Heights and widths in turn, as the operator wants them."""
    return [size for shape in case.shapes for size in shape]


def faults(got: Results, want: Results) -> list[str]:
    """What differs by more than rounding."""
    found = []
    for name, ours, theirs in zip(Results._fields, got, want, strict=True):
        if ours is None or theirs is None:
            if ours is not theirs:
                found.append(f"{name} is {'missing' if ours is None else 'unexpected'}")
            continue
        if ours.shape != theirs.shape:
            found.append(f"{name} has shape {list(ours.shape)}, expected {list(theirs.shape)}")
            continue
        tolerance, difference = TOLERANCE[ours.dtype], ours.cpu().double() - theirs
        # A single wrong element hides in the norm of many; a gross one does not in the maximum.
        error = float(difference.norm() / theirs.norm().clamp(min=1e-30))
        worst = float(difference.abs().max() / theirs.abs().max().clamp(min=1e-30)) if difference.numel() else 0.0
        if theirs.numel() and not (error <= tolerance and worst <= 4 * tolerance):
            found.append(f"{name} is off by {error:.1e} (norm) and {worst:.1e} (maximum), allowed {tolerance:.0e}")
    return found


def compare(case: Case, device: str, kernel: Kernel = operator) -> None:
    """Raise an AssertionError that names what differs."""
    inputs = make_inputs(case, device)
    found = faults(kernel(case, inputs), expected(case, inputs))
    assert not found, f"{case}: " + "; ".join(found)
