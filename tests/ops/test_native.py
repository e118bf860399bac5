"""The compiled operator against its definition: random shapes, threads, instructions, and as PyTorch sees it."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from repro.ops.ms_deform_attn import MODES, implementation, level_starts, ms_deform_attn, native, ran

pytestmark = pytest.mark.skipif(
    not native.serves("cpu", torch.float32), reason="the operator is not built: repro ops build"
)

MAPS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4)
# On pixel centres, on borders, between, and far outside; NaN has a test of its own.
PLACES = torch.tensor([-3.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 40.0])


def problem(shapes, points, batch=2, queries=5, heads=2, channels=8, dtype=torch.float64, seed=0):
    """Random tensors; half of the locations lie exactly on or between pixels, some far outside."""
    draw = torch.Generator().manual_seed(seed)
    tokens, total = sum(height * width for height, width in shapes), sum(points)
    value = torch.randn(batch, tokens, heads, channels, generator=draw, dtype=dtype)
    anywhere = torch.rand(batch, queries, heads, total, 2, generator=draw, dtype=dtype) * 1.4 - 0.2
    size = torch.tensor([[w, h] for h, w in shapes]).repeat_interleave(torch.tensor(points), dim=0)
    pixels = torch.randint(-1, 10, anywhere.shape, generator=draw) + PLACES[
        torch.randint(len(PLACES), anywhere.shape, generator=draw)
    ].to(dtype)
    on_pixels = pixels / size
    chosen = torch.rand(anywhere.shape, generator=draw) < 0.5
    weights = torch.rand(batch, queries, heads, total, generator=draw, dtype=dtype)
    return value, torch.where(chosen, on_pixels, anywhere), weights


def call(tensors, shapes, points, mode="bilinear"):
    return ms_deform_attn(tensors[0], shapes, level_starts(shapes), *tensors[1:], points_per_level=points, mode=mode)


def output_and_gradients(name, tensors, shapes, points, mode, grad=None):
    with implementation(name):
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        output = call(leaves, shapes, points, mode)
        grad = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output) if grad is None else grad
        output.backward(grad)
    return [output.detach(), *(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves)]


@settings(max_examples=60, deadline=None)
@given(
    shapes=MAPS,
    counts=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    channels=st.sampled_from([1, 3, 8, 16, 20, 32, 64, 70]),
    heads=st.integers(1, 3),
    queries=st.integers(1, 40),
    mode=st.sampled_from(MODES),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_equals_the_definition_for_any_shape(shapes, counts, channels, heads, queries, mode, dtype, seed):
    points = counts[: len(shapes)]
    tensors = problem(shapes, points, 2, queries, heads, channels, dtype, seed)
    found = output_and_gradients("native", tensors, shapes, points, mode)
    expected = output_and_gradients("reference", tensors, shapes, points, mode)
    if mode == "bilinear":  # exactly between two pixels, in the last digit, either slope is right
        frozen = near_a_kink(tensors[1], shapes, points)
        for gradients in (found, expected):
            gradients[2] = gradients[2].masked_fill(frozen, 0)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 2e-4, "atol": 2e-4}
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


def near_a_kink(locations, shapes, points):
    size = torch.tensor([[w, h] for h, w in shapes]).repeat_interleave(torch.tensor(points), dim=0)
    pixel = locations * size - 0.5
    return ((pixel - pixel.round()).abs() < 1e-3).any(-1, keepdim=True).expand_as(locations)


def test_equals_grid_sample_on_one_level():
    value, locations, weights = problem([(7, 5)], [3], batch=1, queries=11, heads=1, channels=6)
    feature_map = value.reshape(1, 7, 5, 6).permute(0, 3, 1, 2)
    sampled = F.grid_sample(feature_map, 2 * locations[:, :, 0] - 1, padding_mode="zeros", align_corners=False)
    expected = (sampled * weights[:, None, :, 0]).sum(-1).transpose(1, 2)
    torch.testing.assert_close(call((value, locations, weights), [(7, 5)], [3]), expected)


def test_every_token_may_ask():
    # As in an encoder: queries are then visited tile by tile, which may change nothing but rounding.
    shapes, points = [(19, 37), (10, 18)], [4, 4]
    tensors = problem(shapes, points, batch=2, queries=19 * 37 + 180, heads=2, channels=16)
    found = output_and_gradients("native", tensors, shapes, points, "bilinear")
    expected = output_and_gradients("reference", tensors, shapes, points, "bilinear")
    frozen = near_a_kink(tensors[1], shapes, points)
    for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        frozen_here = frozen if index == 2 else torch.zeros_like(ours, dtype=torch.bool)
        torch.testing.assert_close(ours.masked_fill(frozen_here, 0), theirs.masked_fill(frozen_here, 0))


@pytest.mark.parametrize("mode", ["bilinear", "discrete"])
def test_gradients_are_the_same_bit_for_bit_on_any_number_of_threads(mode):
    shapes, points = [(20, 30), (10, 15)], [4, 4]
    tensors = problem(shapes, points, batch=1, queries=750, heads=3, channels=32, dtype=torch.float32)
    before, runs = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            runs.append(output_and_gradients("native", tensors, shapes, points, mode))
    finally:
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(torch.equal(first, other) for first, other in zip(runs[0], run, strict=True))


@pytest.mark.parametrize("instructions", ["portable", "avx2", "avx512"])
def test_each_set_of_instructions(instructions):
    # The choice is made once a process. Those that the processor lacks are replaced by the next lesser.
    done = subprocess.run(
        [sys.executable, "-m", "repro.ops.ms_deform_attn.selfcheck", "--device", "cpu", "--only", "agrees"],
        env=os.environ | {"REPRO_OPS_SIMD": instructions},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_memory_is_the_result_and_nothing_else():
    shapes, points = [(40, 40)], [4]
    tensors = problem(shapes, points, batch=1, queries=1600, heads=8, channels=32, dtype=torch.float32)
    output = call(tensors, shapes, points)
    size, grads = output.nbytes, sum(tensor.nbytes for tensor in tensors)
    assert allocated(lambda: call(tensors, shapes, points)) <= 1.1 * size
    grad = torch.ones_like(output)
    backward = torch.ops.repro.ms_deform_attn_backward
    assert allocated(lambda: backward(grad, *tensors, [40, 40], points, "bilinear", False)) <= 1.05 * grads


def allocated(work):
    """Bytes that torch's allocator hands out during a call."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        kept = work()
    del kept
    return sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages())


@pytest.mark.parametrize("mode", MODES)
def test_opcheck(mode):
    shapes, points = [(2, 3), (3, 1)], [3, 1]
    tensors = problem(shapes, points, channels=4)
    leaves = [tensor.requires_grad_(index != 1 or mode == "bilinear") for index, tensor in enumerate(tensors)]
    rest = ([2, 3, 3, 1], points, mode)
    opcheck(torch.ops.repro.ms_deform_attn.default, (*leaves, *rest))
    grad = torch.randn_like(call(leaves, shapes, points, mode)).detach()
    opcheck(torch.ops.repro.ms_deform_attn_backward.default, (grad, *(t.detach() for t in tensors), *rest, False))


def test_second_derivatives_are_refused():
    shapes, points = [(2, 3)], [2]
    leaves = [tensor.requires_grad_() for tensor in problem(shapes, points)]
    (grad,) = torch.autograd.grad(call(leaves, shapes, points).square().sum(), leaves[:1], create_graph=True)
    with pytest.raises(NotImplementedError, match=r"no second derivative.*implementation\(\"reference\"\)"):
        grad.sum().backward()


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_values_in_16_bits_as_autocast_makes_them(weights):
    shapes, points = [(40, 40)], [1]
    exact = problem(shapes, points, dtype=torch.float32)
    rounded = [exact[0].bfloat16(), exact[1], exact[2].to(weights)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = output_and_gradients("native", rounded, shapes, points, "bilinear")
    assert [tensor.dtype for tensor in found] == [torch.bfloat16, torch.bfloat16, torch.float32, weights]
    grad = torch.linspace(-1, 1, found[0].numel(), dtype=torch.bfloat16).view_as(found[0]).float()
    widened = [tensor.float() for tensor in rounded]
    expected = output_and_gradients("reference", widened, shapes, points, "bilinear", grad)
    smooth = ~near_a_kink(exact[1], shapes, points)
    found[2], expected[2] = found[2] * smooth, expected[2] * smooth
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.float() - theirs).norm() <= 5e-3 * theirs.norm()


def test_discrete_samples_read_the_definitions_pixel_next_to_every_jump():
    # With one rounding instead of two, location · size + 0.5 falls on the other side of a whole number now and then.
    for size in range(3, 60):
        jumps = (torch.arange(size) + 0.5) / size
        below, above = (jumps.nextafter(torch.tensor(end)) for end in (-1.0, 2.0))
        x = torch.cat([below, jumps, above])
        locations = torch.stack([x, torch.full_like(x, 0.5 / size)], -1).view(1, -1, 1, 1, 2)
        tensors = (torch.arange(float(size * size)).view(1, -1, 1, 1), locations, torch.ones(1, len(x), 1, 1))
        with implementation("reference"):
            expected = call(tensors, [(size, size)], [1], "discrete")
        assert torch.equal(call(tensors, [(size, size)], [1], "discrete"), expected), size


def test_whoever_ran_is_named():
    tensors = problem([(2, 3)], [2])
    ran.clear()
    with implementation("reference"):
        call(tensors, [(2, 3)], [2])
    assert ran == {"reference"}
    call(tensors, [(2, 3)], [2])
    assert ran == {"reference", "native"}


def test_an_implementation_that_is_not_there():
    with pytest.raises(ValueError, match="'cuda'; expected one of auto, native, reference"), implementation("cuda"):
        pass
    tensors = [tensor.to("meta") for tensor in problem([(2, 3)], [2], dtype=torch.float32)]
    with implementation("native"), pytest.raises(RuntimeError, match=r"no kernel for torch\.float32 values on meta"):
        call(tensors, [(2, 3)], [2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spatial_shapes": [2, 3, 1, 3]}, "value has 8 tokens, but spatial_shapes need more"),
        ({"spatial_shapes": [2, 3, 1, 1]}, "value has 8 tokens, but spatial_shapes need 7"),
        ({"spatial_shapes": [2, 3, 1]}, "spatial_shapes has 3 numbers; expected two for each of 2 levels"),
        ({"points": [1, 2]}, "points_per_level sums to 3; sampling_locations has 2 points"),
        ({"spatial_shapes": [641, 9208983000915844801], "points": [2]}, "expected numbers from 0 to 2"),
        ({"spatial_shapes": [2, -3, 1, 2]}, r"level 0 has shape \(2, -3\)"),
        ({"mode": "nearest"}, "mode is 'nearest'; expected one of bilinear, discrete"),
        ({"weights": torch.rand(1, 3, 1, 2)}, r"attention_weights has shape \[1, 3, 1, 2\]; expected \[1, 4, 1, 2\]"),
        ({"locations": torch.rand(1, 4, 1, 2)}, r"sampling_locations has shape .*; expected \[B, Q, M, P, 2\]"),
        ({"value": torch.rand(1, 8, 1, 2)[..., :1]}, "must be contiguous and of one type"),
    ],
)
def test_the_kernel_guards_itself(change, message):
    given = {
        "value": torch.rand(1, 8, 1, 1),
        "locations": torch.rand(1, 4, 1, 2, 2),
        "weights": torch.rand(1, 4, 1, 2),
        "spatial_shapes": [2, 3, 1, 2],
        "points": [1, 1],
        "mode": "bilinear",
    }
    with pytest.raises(ValueError, match=message):
        torch.ops.repro.ms_deform_attn(*(given | change).values())
