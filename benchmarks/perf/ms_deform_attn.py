"""Multi-scale deformable attention on the CPU: time and memory beside two formulations in plain PyTorch.

- ``grid_sample``: as published with Deformable DETR: each level sampled by ``grid_sample``, stacked, weighted, summed;
- ``gather``: the four corners read by index, compiled by ``torch.compile``.

(a) is Deformable DETR's encoder on an 800×1333 image, where each of the 22,223 tokens asks; (b) RT-DETRv2's decoder at
640², 300 queries; (c) the same with 3, 6 and 3 points on its levels. ``local`` samples lie a few pixels around their
query, ``uniform`` ones anywhere. All run in one process, in turn in each round; a ratio is the median of the rounds'
ratios, with their 10th and 90th percentile.

python benchmarks/perf/ms_deform_attn.py [--threads 1 2] [--rounds 9] [--write results/perf/ms_deform_attn.md]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.ops.ms_deform_attn import implementation, level_starts, ms_deform_attn

HEADS, CHANNELS = 8, 32
ENCODER = [(100, 167), (50, 84), (25, 42), (13, 21)]
DECODER = [(80, 80), (40, 40), (20, 20)]


@dataclass(frozen=True)
class Case:
    """One shape: name, levels, points on each, queries (None: every token asks), sampling, mode."""

    name: str
    shapes: Sequence[tuple[int, int]]
    points: Sequence[int]
    queries: int | None
    sampling: str
    mode: str

    @property
    def samples(self) -> int:
        queries = self.queries or sum(height * width for height, width in self.shapes)
        return queries * HEADS * sum(self.points)


CASES = (
    Case("(a) encoder", ENCODER, (4, 4, 4, 4), None, "local", "bilinear"),
    Case("(a) encoder", ENCODER, (4, 4, 4, 4), None, "uniform", "bilinear"),
    Case("(b) decoder", DECODER, (4, 4, 4), 300, "local", "bilinear"),
    Case("(b) decoder", DECODER, (4, 4, 4), 300, "local", "discrete"),
    Case("(c) decoder 3/6/3", DECODER, (3, 6, 3), 300, "local", "bilinear"),
    Case("(c) decoder 3/6/3", DECODER, (3, 6, 3), 300, "local", "discrete"),
    Case("(c) decoder 3/6/3", DECODER, (3, 6, 3), 300, "uniform", "bilinear"),
)


def arguments(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Values, locations and weights of one image."""
    generator = torch.Generator().manual_seed(0)
    tokens, points = sum(height * width for height, width in case.shapes), sum(case.points)
    queries = case.queries or tokens
    value = torch.randn(1, tokens, HEADS, CHANNELS, generator=generator)
    weights = torch.rand(1, queries, HEADS, points, generator=generator).softmax(-1)
    if case.sampling == "uniform":
        return value, torch.rand(1, queries, HEADS, points, 2, generator=generator), weights
    centres = torch.rand(queries, 2, generator=generator) if case.queries else torch.cat(list(map(grid, case.shapes)))
    sizes = torch.tensor([[width, height] for height, width in case.shapes], dtype=torch.float32)
    pixels = 3 / sizes.repeat_interleave(torch.tensor(case.points), dim=0)
    offsets = torch.randn(1, queries, HEADS, points, 2, generator=generator) * pixels
    return value, centres[None, :, None, None] + offsets, weights


def grid(shape: tuple[int, int]) -> Tensor:
    """Centres (x, y) of a map's pixels, [H·W, 2]."""
    height, width = shape
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def ours(case: Case) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The project's operator, compiled."""

    def call(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        starts = level_starts(case.shapes)
        return ms_deform_attn(
            value, case.shapes, starts, locations, weights, points_per_level=case.points, mode=case.mode
        )

    return call


def grid_sample(case: Case) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The formulation that Deformable DETR's authors published beside their CUDA kernel (discrete: by gathering)."""

    def call(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        maps = value.split([height * width for height, width in case.shapes], dim=1)
        sampled = []
        for shape, level, where in zip(case.shapes, maps, locations.split(list(case.points), dim=3), strict=True):
            pixels = level.flatten(2).transpose(1, 2).reshape(-1, CHANNELS, *shape)
            around = where.transpose(1, 2).flatten(0, 1)  # [B·M, Q, P, 2]
            sampled.append(sample(pixels, around, case.mode))
        weight = weights.transpose(1, 2).flatten(0, 1).unsqueeze(1)  # [B·M, 1, Q, P]
        output = (torch.cat(sampled, dim=-1) * weight).sum(-1)
        return output.view(len(value), HEADS * CHANNELS, -1).transpose(1, 2).contiguous()

    return call


def sample(pixels: Tensor, where: Tensor, mode: str) -> Tensor:
    """[N, D, H, W] at [N, Q, P, 2] → [N, D, Q, P]."""
    if mode == "bilinear":
        return F.grid_sample(pixels, 2 * where - 1, mode="bilinear", padding_mode="zeros", align_corners=False)
    height, width = pixels.shape[2:]
    x = (where[..., 0] * width + 0.5).long().clamp(0, height - 1)  # as published
    y = (where[..., 1] * height + 0.5).long().clamp(0, height - 1)
    index = (y * width + x).flatten(1).unsqueeze(1).expand(-1, CHANNELS, -1)
    return pixels.flatten(2).gather(2, index).unflatten(2, where.shape[1:3])


def gather(case: Case) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Corners by index, one fused loop under ``torch.compile``."""
    starts = level_starts(case.shapes)

    def call(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        batch = torch.arange(len(value), device=value.device).view(-1, 1, 1, 1)
        heads = torch.arange(HEADS, device=value.device).view(1, 1, -1, 1)
        output = value.new_zeros(len(value), locations.shape[1], HEADS, CHANNELS)
        wheres, shares = (tensor.split(list(case.points), dim=3) for tensor in (locations, weights))
        for (height, width), start, where, weight in zip(case.shapes, starts, wheres, shares, strict=True):
            if case.mode == "discrete":
                x = (where[..., 0] * width + 0.5).long().clamp(0, height - 1)
                y = (where[..., 1] * height + 0.5).long().clamp(0, height - 1)
                output = output + (value[batch, start + y * width + x, heads] * weight.unsqueeze(-1)).sum(3)
                continue
            x, y = where[..., 0] * width - 0.5, where[..., 1] * height - 0.5
            left, top = x.floor(), y.floor()
            for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
                column, row = left + right, top + down
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                share = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside * weight
                token = start + row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
                output = output + (value[batch, token, heads] * share.unsqueeze(-1)).sum(3)
        return output.flatten(2)

    return torch.compile(call, dynamic=False)


@dataclass
class Timing:
    """Seconds of each round, by implementation."""

    forward: dict[str, list[float]]
    both: dict[str, list[float]]


def measure(case: Case, rounds: int) -> Timing:
    """Time everything in turn; checks once that all agree."""
    torch._dynamo.reset()  # one compilation a case, whatever the limit on recompilations
    inputs = arguments(case)
    calls = {"ours": ours(case), "grid_sample": grid_sample(case), "gather": gather(case)}
    grad = torch.randn_like(calls["ours"](*inputs))
    outputs = {}
    for name, call in calls.items():
        with torch.no_grad():
            outputs[name] = call(*inputs)
        once_both(call, inputs, grad)
    for name, output in outputs.items():
        # Discrete indices of two formulations may differ where rounding decides; sums over 12 points then differ too.
        close = (output - outputs["ours"]).abs().mean().item()
        assert close < 1e-3, f"{name} differs by {close} in {case}"
    repeats = max(1, min(50, round(3e6 / case.samples)))
    timing = Timing({name: [] for name in calls}, {name: [] for name in calls})
    for _ in range(rounds):
        for name, call in calls.items():
            timing.forward[name].append(seconds(lambda call=call: once_forward(call, inputs), repeats))
            timing.both[name].append(seconds(lambda call=call: once_both(call, inputs, grad), repeats))
    return timing


def once_forward(call: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
    with torch.no_grad():
        call(*inputs)


def once_both(call: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor) -> None:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    call(*leaves).backward(grad)


def seconds(call: Callable[[], None], repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - began) / repeats


def ratio(base: Sequence[float], ours: Sequence[float]) -> str:
    """Median of the rounds' ratios, and their 10th and 90th percentile."""
    ratios = sorted(first / second for first, second in zip(base, ours, strict=True))
    low, high = (ratios[round(share * (len(ratios) - 1))] for share in (0.1, 0.9))
    return f"**{statistics.median(ratios):.1f}** [{low:.1f}..{high:.1f}]"


def peak_bytes(call: Callable[[], object]) -> int:
    """How far resident memory rises above where it stood, by the kernel's own high-water mark (Linux)."""
    call()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    kept = call()
    del kept
    return max(0, resident("VmHWM") - before)


def resident(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def rates() -> dict[str, float]:
    """GB/s that one thread reads from arrays of some sizes, by summing them."""
    found = {}
    for name, size in (("1 MiB", 2**20), ("16 MiB", 2**24), ("512 MiB", 2**29)):
        array = torch.ones(size // 4)
        repeats = max(1, 2**29 // size)
        found[name] = (
            size / statistics.median(seconds(lambda array=array: array.sum(), repeats) for _ in range(5)) / 1e9
        )
    return found


def cpu_name() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor()


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", type=Path, help="Markdown page")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory is not None:
        print(json.dumps(peaks(CASES[options.memory])))
        return
    with implementation("native"):
        lines = page(options.threads, options.rounds)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text("\n".join(lines) + "\n")


def page(threads: Sequence[int], rounds: int) -> list[str]:
    lines: list[str] = []

    def say(text: str) -> None:
        print(text, flush=True)
        lines.append(text)

    say("# Multi-scale deformable attention on the CPU\n")
    say(f"{cpu_name()}, torch {torch.__version__}. float32, batch 1, 8 heads of 32 channels; {rounds} rounds.")
    say("Made by `benchmarks/perf/ms_deform_attn.py`, which says what the columns are; above 1, ours is faster.\n")
    torch.set_num_threads(1)
    measured = rates()
    say("One thread reads " + ", ".join(f"{rate:.0f} GB/s from {name}" for name, rate in measured.items()) + ".\n")
    say("| case | sampling | mode | threads | ours, ms: fwd | fwd+bwd | corners, GB/s | fwd / grid_sample "
        "| fwd+bwd / grid_sample | fwd / compiled gather | fwd+bwd / compiled gather |")  # fmt: skip
    say("|---|---|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        for count in threads:
            torch.set_num_threads(count)
            say(row(case, count, measure(case, rounds)))
    say("\nPeak extra memory in MiB, one thread: the process's high-water mark above what the inputs hold. 'Least' is")
    say("what must exist: the output, or the output and three gradients.\n")
    say("| case | ours: fwd | least | fwd+bwd | least | grid_sample: fwd | fwd+bwd |")
    say("|---|---|---|---|---|---|---|")
    for index in (0, 2):
        say(memory(index))
    return lines


def row(case: Case, threads: int, timing: Timing) -> str:
    forward, both = (statistics.median(times["ours"]) for times in (timing.forward, timing.both))
    taps = 4 if case.mode == "bilinear" else 1
    moved = case.samples * taps * CHANNELS * 4 / forward / 1e9
    parts = [
        case.name,
        case.sampling,
        case.mode,
        str(threads),
        f"{forward * 1e3:.2f}",
        f"{both * 1e3:.2f}",
        f"{moved:.0f}",
    ]
    parts += [
        ratio(times[base], times["ours"])
        for base in ("grid_sample", "gather")
        for times in (timing.forward, timing.both)
    ]
    return f"| {' | '.join(parts)} |"


def memory(index: int) -> str:
    """The row of one case, measured in a process of its own, in which freed memory goes back to the system at once."""
    frugal = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--memory", str(index)]
    found = json.loads(subprocess.run(command, env=frugal, check=True, capture_output=True, text=True).stdout)
    return f"| {CASES[index].name} | {' | '.join(f'{size:.1f}' for size in found)} |"


def peaks(case: Case) -> list[float]:
    """MiB that ours takes forward, the least, forward and backward, the least, and the same of grid_sample."""
    inputs = arguments(case)
    output = ours(case)(*inputs)
    least = output.numel() * 4 / 2**20
    gradients = sum(tensor.numel() for tensor in inputs) * 4 / 2**20
    found = []
    for call in (ours(case), grid_sample(case)):
        found.append(peak_bytes(lambda call=call: call(*inputs)) / 2**20)
        found.append(peak_bytes(lambda call=call: once_both(call, inputs, output)) / 2**20)
    return [found[0], least, found[1], least + gradients, *found[2:]]


if __name__ == "__main__":
    main()
