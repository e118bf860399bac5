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
DTYPES = {
    "cpu": (torch.float32, torch.float64),
    "cuda": (torch.float32, torch.float64, torch.float16, torch.bfloat16),
}


@torch.compiler.assume_constant_result
def serves(device_type: str, dtype: torch.dtype) -> bool:
    """Whether there is a kernel for values of this type on this device; loads the library when first asked."""
    return dtype in DTYPES.get(device_type, ()) and _registered(device_type)


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
    # At these keys of the dispatcher, which have no decorator of their own for rules that differ by argument.
    rules = torch.library.Library("repro", "IMPL")
    rules.impl(NAME, _autocast_cpu, "AutocastCPU")
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


def _autocast_cpu(value: Tensor, locations: Tensor, weights: Tensor, *rest: Any) -> Tensor:
    """The kernel has no 16-bit types, and needs none: it waits for memory."""
    with torch.autocast("cpu", enabled=False):
        exact = torch.promote_types(value.dtype, torch.float32)
        return torch.ops.repro.ms_deform_attn(value.to(exact), locations.to(exact), weights.to(exact), *rest)


def _autocast_cuda(value: Tensor, locations: Tensor, weights: Tensor, *rest: Any) -> Tensor:
    """Values in 16 bits, locations never: half precision moves them by up to half a pixel."""
    with torch.autocast("cuda", enabled=False):
        if value.dtype != torch.float64:
            value, locations = value.to(torch.get_autocast_dtype("cuda")), locations.float()
            weights = weights if weights.dtype == torch.float32 else weights.to(value.dtype)
        return torch.ops.repro.ms_deform_attn(value, locations, weights, *rest)
