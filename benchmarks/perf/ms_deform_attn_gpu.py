"""Multi-scale deformable attention on a GPU: time, beside plain PyTorch, the memory's speed, and the package deformops.

Shapes and formulations are those of ``ms_deform_attn.py``, which measures them on the CPU. Columns:

- forward, forward+backward, deterministic: microseconds of one call in a CUDA graph of many, so without the time that
  Python takes; ``cold`` is one eager forward after the second cache was overwritten, launch included;
- floor: what no kernel can beat, the larger of the time that memory takes for every byte once, at the copying speed
  measured here, and the time that the first caches take for the corners, at 128 bytes a cycle and multiprocessor;
- the rest are ratios of eager calls, cold: above 1, ours is faster. In 16 bits the grid_sample formulation works in
  float32, as under autocast.

``make gpu-bench`` builds the kernels first, and needs PyTorch and nvcc alone. ``--device cpu --quick`` runs the same
script on tiny inputs, as a test of itself.

    python benchmarks/perf/ms_deform_attn_gpu.py [--write results/gpu]
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from ms_deform_attn import CASES, CHANNELS, HEADS, Case, arguments, gather, grid_sample, ours  # beside this file
from torch import Tensor

from repro.ops.build import build
from repro.ops.ms_deform_attn import implementation

QUICK = (
    Case("(a) encoder", [(8, 10), (4, 5)], (2, 2), None, "local", "bilinear"),
    Case("(b) decoder", [(8, 8), (4, 4)], (2, 2), 20, "local", "discrete"),
    Case("(c) decoder 2/3", [(8, 8), (4, 4)], (2, 3), 20, "uniform", "bilinear"),
)
Call = Callable[..., Tensor]
HEADER = (
    "case", "sampling", "mode", "batch", "type", "forward", "cold", "forward+backward", "deterministic", "floor",
    "forward / floor", "forward+backward / forward", "deterministic / not", "grid_sample: forward", "forward+backward",
    "compiled gather: forward", "forward+backward", "deformops: forward", "forward+backward",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """What runs the calls, and how fast its memories are: bytes a second."""

    device: str
    name: str
    memory: float
    first_cache: float
    rounds: int

    def seconds(self, work: Callable[[], object]) -> float:
        """Median of single calls, each after the caches were overwritten."""
        work()
        return statistics.median(self._once(work) for _ in range(self.rounds))

    def _once(self, work: Callable[[], object]) -> float:
        if self.device == "cpu":
            return elapsed(work)
        torch.empty(2**28, dtype=torch.uint8, device="cuda").zero_()
        return event_seconds(work)

    def in_graph(self, work: Callable[[], object], repeats: int = 20) -> float:
        """Median time of a call among many, replayed from a CUDA graph."""
        if self.device == "cpu":
            return self.seconds(work)
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            work()
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(repeats):
                work()
        graph.replay()
        return statistics.median(event_seconds(graph.replay) for _ in range(self.rounds)) / repeats


def elapsed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def event_seconds(work: Callable[[], object]) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def machine(device: str, rounds: int) -> Machine:
    """This one, its copying speed measured."""
    size = 2**30 if device == "cuda" else 2**24
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    timed = event_seconds if device == "cuda" else elapsed
    memory = 2 * size / statistics.median(timed(lambda: target.copy_(source)) for _ in range(5))
    if device == "cpu":
        return Machine(device, "CPU", memory, float("inf"), rounds)
    about = torch.cuda.get_device_properties(0)
    clock = 1e3 * getattr(about, "clock_rate", 1_755_000)  # kHz; an H200's where torch does not say
    return Machine(device, about.name, memory, about.multi_processor_count * 128 * clock, rounds)


def inputs_of(case: Case, batch: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Values in their type; locations and weights in float32."""
    value, locations, weights = (
        tensor.to(device).repeat(batch, *[1] * (tensor.ndim - 1)) for tensor in arguments(case)
    )
    return value.to(dtype), locations, weights


def floor_seconds(case: Case, batch: int, dtype: torch.dtype, here: Machine) -> float:
    tokens = sum(height * width for height, width in case.shapes)
    queries = case.queries or tokens
    once = (tokens + queries) * HEADS * CHANNELS * dtype.itemsize + 12 * case.samples
    corners = case.samples * (4 if case.mode == "bilinear" else 1) * CHANNELS * dtype.itemsize
    return batch * max(once / here.memory, corners / here.first_cache)


def deformops(case: Case) -> Call | None:
    """The package's operator, where it is installed and has such a mode."""
    try:
        from deformops.registry import msda  # ty: ignore
    except ImportError:
        return None
    if case.mode != "bilinear" or len(set(case.points)) > 1:
        return None
    shapes = torch.tensor(case.shapes, device="cuda")
    starts = torch.tensor([0, *(height * width for height, width in case.shapes)][:-1], device="cuda").cumsum(0)
    levels = (len(case.points), case.points[0])

    def call(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return msda(value, shapes, starts, locations.unflatten(3, levels), weights.to(value.dtype))

    return call


def in_float32(call: Call) -> Call:
    return lambda value, *rest: call(value.float(), *rest).to(value.dtype)


def baselines(case: Case, compiled: bool) -> list[Call | None]:
    return [in_float32(grid_sample(case)), in_float32(gather(case)) if compiled else None, deformops(case)]


def both(call: Call, inputs: Sequence[Tensor], grad: Tensor) -> Callable[[], None]:
    """Forward and backward through autograd."""

    def work() -> None:
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        torch.autograd.grad(call(*leaves), leaves, grad, allow_unused=True)

    return work


def ours_in_graph(case: Case, inputs: Sequence[Tensor], grad: Tensor, deterministic: bool) -> Callable[[], None]:
    """Forward and backward without autograd, whose streams a capture would have to follow."""
    sizes = [size for shape in case.shapes for size in shape]
    rest = (*inputs, sizes, list(case.points), case.mode)

    def work() -> None:
        torch.ops.repro.ms_deform_attn(*rest)
        torch.ops.repro.ms_deform_attn_backward(grad, *rest, deterministic)

    return work


def row(case: Case, batch: int, dtype: torch.dtype, here: Machine, compiled: bool) -> list[str]:
    """One line of the table."""
    inputs = inputs_of(case, batch, dtype, here.device)
    call = ours(case)
    grad = torch.randn_like(call(*inputs))
    with torch.no_grad():
        forward, cold = here.in_graph(lambda: call(*inputs)), here.seconds(lambda: call(*inputs))
        together, deterministic = (here.in_graph(ours_in_graph(case, inputs, grad, flag)) for flag in (False, True))
    floor = floor_seconds(case, batch, dtype, here)
    cells = [case.name, case.sampling, case.mode, str(batch), str(dtype).removeprefix("torch.")]
    cells += [f"{1e6 * figure:.1f}" for figure in (forward, cold, together, deterministic, floor)]
    cells += [f"{figure:.2f}" for figure in (forward / floor, together / forward, deterministic / together)]
    eager = here.seconds(both(call, inputs, grad))
    for other in baselines(case, compiled):
        cells += against(other, inputs, grad, here, cold, eager)
    return cells


def against(other: Call | None, inputs: Sequence[Tensor], grad: Tensor, here: Machine, *ours: float) -> list[str]:
    """How many times longer another implementation takes: forward, and both."""
    if other is None:
        return ["", ""]
    try:
        with torch.no_grad():
            forward = here.seconds(lambda: other(*inputs))
        together = here.seconds(both(other, inputs, grad))
    except torch.OutOfMemoryError:
        return ["no memory", "no memory"]
    return [f"{theirs / mine:.1f}" for theirs, mine in zip((forward, together), ours, strict=True)]


def page(here: Machine, quick: bool) -> Iterator[str]:
    """The Markdown, line by line as it is measured."""
    yield f"# Multi-scale deformable attention on {here.name}\n"
    yield f"torch {torch.__version__}, CUDA {torch.version.cuda}; medians of {here.rounds} rounds, times in µs."
    memory, cache = here.memory / 1e9, here.first_cache / 1e9
    yield f"A copy moves {memory:.0f} GB/s; the first caches give {cache:.0f} GB/s by the clock."
    yield "Made by `benchmarks/perf/ms_deform_attn_gpu.py`, which says what the columns are.\n"
    yield f"| {' | '.join(HEADER)} |"
    yield "|---" * len(HEADER) + "|"
    types = (torch.float32, torch.bfloat16, torch.float16) if here.device == "cuda" else (torch.float32,)
    for case in QUICK if quick else CASES:
        for batch in (1, 2) if quick else (1, 4, 16):
            for dtype in types:
                # Compiling takes half a minute a case: once each, where samples lie as they do in use.
                compiled = not quick and batch == 1 and dtype == torch.float32 and case.sampling == "local"
                yield f"| {' | '.join(row(case, batch, dtype, here, compiled))} |"


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny inputs: a test of this script, not of the kernels")
    parser.add_argument("--build", action="store_true", help="compile for this device first, unless that is done")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", type=Path, help="folder of the page, which is named after the GPU")
    options = parser.parse_args()
    if options.build:
        build("ms_deform_attn", cuda=options.device == "cuda", report=lambda line: print(line, file=sys.stderr))
    here = machine(options.device, options.rounds)
    lines = []
    with implementation("native"):
        for line in page(here, options.quick):
            print(line, flush=True)
            lines.append(line)
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", here.name.lower()).strip("-")
        (options.write / f"{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
