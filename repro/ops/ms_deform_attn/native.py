"""The compiled operator as PyTorch sees it: shape functions, derivatives, and what autocast does to its arguments.

With these, ``torch.compile`` and ``torch.export`` keep one node, ``repro::ms_deform_attn``. Its kernels are C++ and
CUDA (``csrc``); without a build none of this happens, and the reference serves.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from repro.ops import library

NAME = "ms_deform_attn"
DEVICES = ("cpu", "cuda")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""Of values. In 16 bits they are summed in float32; on the CPU they are converted first."""


@torch.compiler.assume_constant_result
def serves(device_type: str, dtype: torch.dtype) -> bool:
    """Whether there is a kernel for values of this type on this device; loads the library when first asked."""
    return device_type in DEVICES and dtype in DTYPES and _registered(device_type)


@cache
def _registered(device_type: str) -> bool:
    return _load() and torch._C._dispatch_has_kernel_for_dispatch_key(f"repro::{NAME}", device_type.upper())


@cache
def _load() -> bool:
    if not library.load(NAME):
        return False
    torch.library.register_fake(f"repro::{NAME}", _fake)
    torch.library.register_fake(f"repro::{NAME}_backward", _fake_backward)
    torch.library.register_autograd(f"repro::{NAME}", _backward, setup_context=_save)
    torch.library.register_autograd(f"repro::{NAME}_backward", _no_second_derivative)
    # At this key of the dispatcher, which has no decorator of its own for a rule that differs by argument. On the CPU
    # there is nothing to cast: the kernel takes values as they come.
    rules = torch.library.Library("repro", "IMPL")
    rules.impl(NAME, _autocast_cuda, "AutocastCUDA")
    _kept.append(rules)
    return True


_kept: list[torch.library.Library] = []  # a library's registrations last as long as the object


def _fake(
    value: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    spatial_shapes: list[int],
    points_per_level: list[int],
    mode: str,
) -> Tensor:
    batch, queries, heads = sampling_locations.shape[:3]
    return value.new_empty(batch, queries, heads * value.shape[3])


def _fake_backward(
    grad_output: Tensor,
    value: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    spatial_shapes: list[int],
    points_per_level: list[int],
    mode: str,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    locations = torch.empty_like(sampling_locations) if mode == "bilinear" else sampling_locations.new_empty(0)
    return torch.empty_like(value), locations, torch.empty_like(attention_weights)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    value, locations, weights, ctx.shapes, ctx.points, ctx.mode = inputs
    ctx.save_for_backward(value, locations, weights)


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    value_grad, locations_grad, weights_grad = torch.ops.repro.ms_deform_attn_backward(
        grad_output.contiguous(),
        *ctx.saved_tensors,
        ctx.shapes,
        ctx.points,
        ctx.mode,
        torch.are_deterministic_algorithms_enabled(),
    )
    return value_grad, locations_grad if ctx.mode == "bilinear" else None, weights_grad, None, None, None


def _no_second_derivative(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError(
        "ms_deform_attn has no second derivative (create_graph=True was used); "
        'compute it with the reference: with implementation("reference"): ...'
    )


def _autocast_cuda(value: Tensor, locations: Tensor, weights: Tensor, *rest: Any) -> Tensor:
    """Values in 16 bits, locations never: half precision moves them by up to half a pixel."""
    with torch.autocast("cuda", enabled=False):
        if value.dtype != torch.float64:
            value, locations = value.to(torch.get_autocast_dtype("cuda")), locations.float()
            weights = weights if weights.dtype == torch.float32 else weights.to(value.dtype)
        return torch.ops.repro.ms_deform_attn(value, locations, weights, *rest)
