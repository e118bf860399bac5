"""Does a kernel compute what the reference computes? Needs PyTorch alone, so that a bare GPU machine can ask.

    python -m repro.ops.ms_deform_attn.selfcheck --device cuda [--build] [--only WORD] [--write FOLDER]

prints a Markdown table with one row a check, and ends with 1 if one fails. Tests call the same checks.
"""

from __future__ import annotations

import argparse
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from repro.ops.build import build
from repro.ops.library import find
from repro.ops.ms_deform_attn import MODES, implementation, native
from repro.ops.ms_deform_attn.cases import (
    LAYOUTS,
    Case,
    Inputs,
    Kernel,
    Results,
    call,
    cases,
    compare,
    expected,
    faults,
    make_inputs,
    operator,
    sizes_of,
    small,
)


def check_strange_locations(mode: str, device: str, kernel: Kernel = operator) -> None:
    """Huge locations are outside; those that are not finite make a bilinear output NaN, and that output alone.

    What gradients they give is not laid down. The discrete modes read some pixel of the map, which the reference finds.
    """
    case = Case(mode, torch.float32, 32, *LAYOUTS[0])
    inputs = make_inputs(case, device)
    for query, number in enumerate((1e30, -1e30, 3e9, -3e9)):
        inputs.locations[:, query, :, query, query % 2] = number
    want = expected(case, inputs)
    found = faults(kernel(case, inputs), want)
    assert not found, f"{case} with huge locations: " + "; ".join(found)
    for query, number in enumerate((torch.nan, torch.inf, -torch.inf)):
        inputs.locations[:, query, :, query, query % 2] = number
    output = kernel(case, inputs).output.cpu()
    if mode == "bilinear":
        assert output[:, :3].isnan().all(), f"{case}: a location that is not finite does not show"
        output, theirs = output[:, 3:], want.output[:, 3:]
    else:
        theirs = expected(case, inputs).output
    torch.testing.assert_close(output.double(), theirs, rtol=1e-4, atol=1e-5)


def check_gradcheck(mode: str, device: str) -> None:
    """Analytic gradients against numerical ones, in float64, with and without atomics; second ones are refused."""
    case = small(mode)
    inputs = make_inputs(case, device)
    leaves = [tensor.requires_grad_(index != 1 or mode == "bilinear") for index, tensor in enumerate(inputs[:3])]
    with implementation("native"):
        for deterministic in (False, True):
            with deterministic_algorithms(deterministic):
                assert torch.autograd.gradcheck(lambda *tensors: call(case, *tensors), leaves)
        (first,) = torch.autograd.grad(call(case, *leaves).sum(), leaves[0], create_graph=True)
        try:
            first.sum().backward()
        except (NotImplementedError, RuntimeError):
            return
    raise AssertionError("a second derivative was not refused")


def check_opcheck(mode: str, device: str) -> None:
    """The registration keeps PyTorch's rules: schema, fake tensors, autograd, ahead-of-time dispatch."""
    case = small(mode, torch.float32)
    inputs = make_inputs(case, device)
    arguments = (*inputs[:3], sizes_of(case), list(case.points), mode)
    torch.library.opcheck(torch.ops.repro.ms_deform_attn.default, arguments)
    backward = torch.ops.repro.ms_deform_attn_backward.default
    for deterministic in (False, True):
        torch.library.opcheck(backward, (inputs.grad_output, *arguments, deterministic))


def check_deterministic(mode: str, device: str) -> None:
    """Equal bits every time, by argument and by switch, where many queries share few pixels; and right ones."""
    shapes, points = LAYOUTS[0]
    for dtype in native.DTYPES:
        case = Case(mode, dtype, 32, shapes, points, queries=3000, heads=8)
        inputs = make_inputs(case, device)
        arguments = (inputs.grad_output, *inputs[:3], sizes_of(case), list(points), mode)
        with deterministic_algorithms(True):
            by_switch = operator(case, inputs)
            found = faults(by_switch, expected(case, inputs))
            assert not found, f"deterministic {case}: " + "; ".join(found)
        for _ in range(5):
            value, locations, weights = torch.ops.repro.ms_deform_attn_backward(*arguments, True)
            assert torch.equal(value, by_switch.grad_value), f"{case}: value gradients differ from run to run"
            assert torch.equal(weights, by_switch.grad_weights), f"{case}: weight gradients differ from run to run"
            assert mode != "bilinear" or torch.equal(locations, by_switch.grad_locations), f"{case}: locations differ"


def check_empty(mode: str, device: str) -> None:
    """Without images, queries, heads, channels, tokens or points there are zeros, or nothing at all."""
    sizes = (
        {"batch": 0},
        {"queries": 0},
        {"heads": 0},
        {"channels": 0},
        {"points": (0, 0)},
        {"shapes": ((0, 4), (0, 0))},
    )
    for change in sizes:
        case = Case(**{**vars(small(mode, torch.float32)), **change})
        inputs = make_inputs(case, device)
        results = operator(case, inputs)
        for result, like in zip(
            results, (inputs.grad_output, inputs.value, inputs.locations, inputs.weights), strict=True
        ):
            assert result is None or (result.shape == like.shape and not result.any()), f"{case} with {change}"


def check_parts(mode: str, device: str) -> None:
    """Tensors that are parts of others start anywhere, not at a multiple of 16 bytes."""
    case = Case(mode, native.DTYPES[-1], 32, *LAYOUTS[0])
    inputs = make_inputs(case, device)
    shifted = Inputs(*[torch.cat([part.new_zeros(1), part.flatten()])[1:].view(part.shape) for part in inputs])
    found = faults(operator(case, shifted), expected(case, inputs))
    assert not found, f"{case} of shifted tensors: " + "; ".join(found)


def check_graph_capture(mode: str, device: str) -> None:
    """Forward and both backwards can be captured in a CUDA graph, whose replay reads what its tensors hold by then."""
    case = Case(mode, torch.float32, 32, *LAYOUTS[2], queries=50)
    static, fresh = make_inputs(case, device), make_inputs(case, device, seed=1)
    arguments = (*static[:3], sizes_of(case), list(case.points), mode)

    def work() -> tuple[Tensor, ...]:
        output = torch.ops.repro.ms_deform_attn(*arguments)
        once = torch.ops.repro.ms_deform_attn_backward(static.grad_output, *arguments, False)
        return output, *once, *torch.ops.repro.ms_deform_attn_backward(static.grad_output, *arguments, True)

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        work()
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = work()
    for tensor, content in zip(static, fresh, strict=True):
        tensor.copy_(content)
    graph.replay()
    torch.cuda.synchronize()
    want = expected(case, fresh)
    for grads in (results[1:4], results[4:7]):
        got = Results(results[0], grads[0], grads[1] if mode == "bilinear" else None, grads[2])
        found = faults(got, want)
        assert not found, f"{case} in a graph: " + "; ".join(found)


def check_no_synchronisation(mode: str, device: str) -> None:
    """Nothing waits for the device."""
    case = Case(mode, torch.bfloat16, 32, *LAYOUTS[0])
    inputs = make_inputs(case, device)
    operator(case, inputs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for deterministic in (False, True):
            with deterministic_algorithms(deterministic):
                operator(case, inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def check_large(mode: str, device: str) -> None:
    """More than 2^31 elements: the last image of many gives what it gives alone."""
    shape, dtype = (512, 512), torch.float16
    batch = 2**31 // (512 * 512 * 8 * 32) + 2
    needed = 6 * batch * 512 * 512 * 8 * 32 * dtype.itemsize
    if torch.cuda.mem_get_info()[0] < needed:
        raise SkippedError(f"needs {needed / 2**30:.0f} GiB")
    case = Case(mode, dtype, 32, (shape,), (4,), batch=1, queries=100, heads=8)
    one = make_inputs(case, device)
    many = Inputs(*[part.new_zeros(batch, *part.shape[1:]) for part in one])
    for whole, part in zip(many, one, strict=True):
        whole[-1] = part[0]
    results = operator(Case(**{**vars(case), "batch": batch}), many)
    last = Results(*[None if result is None else result[-1:] for result in results])
    found = faults(last, expected(case, one))
    assert not found, f"{case}, the last of {batch}: " + "; ".join(found)


def check_bad_input(mode: str, device: str) -> None:
    """Past the public entry, too, arguments that do not fit are named."""
    inputs = make_inputs(small(mode, torch.float32), device)
    value, locations, weights, _ = inputs
    good = {"value": value, "locations": locations, "weights": weights, "shapes": [3, 4, 2, 2], "points": [2, 1]}
    for change, message in (
        ({"value": value[0]}, "value has shape"),
        ({"locations": locations[..., :1]}, "sampling_locations has shape"),
        ({"weights": weights[:, :1]}, "attention_weights has shape"),
        ({"shapes": [3, 4, 2, 3]}, "tokens"),
        ({"points": [2, 2]}, "points"),
        ({"points": [3]}, "spatial_shapes"),
        ({"value": value.transpose(1, 2).contiguous().transpose(1, 2)}, "contiguous"),
    ):
        try:
            torch.ops.repro.ms_deform_attn(*{**good, **change}.values(), mode)
        except (ValueError, TypeError, RuntimeError) as error:
            assert message in str(error), f"{list(change)}: the message says {str(error).splitlines()[0]!r}"
        else:
            raise AssertionError(f"{list(change)} was not refused")


class SkippedError(Exception):
    """A check does not apply to this machine; says why."""


class deterministic_algorithms:  # noqa: N801 (used like a function)
    """Within the block, PyTorch's switch is on or off."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted

    def __enter__(self) -> None:
        self.before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(self.wanted)

    def __exit__(self, *error: object) -> None:
        torch.use_deterministic_algorithms(self.before)


ANYWHERE: tuple[Callable[[str, str], None], ...] = (
    check_strange_locations,
    check_gradcheck,
    check_opcheck,
    check_deterministic,
    check_empty,
    check_parts,
    check_bad_input,
)
ON_GPU: tuple[Callable[[str, str], None], ...] = (check_graph_capture, check_no_synchronisation, check_large)


def checks(device: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """All that apply to a device, by name."""
    for dtype in native.DTYPES:
        for case in cases([dtype]):
            yield f"agrees: {case}", lambda case=case: compare(case, device)
    for check in (*ANYWHERE, *(ON_GPU if device == "cuda" else ())):
        for mode in MODES:
            name = check.__name__.removeprefix("check_").replace("_", " ")
            yield f"{name}: {mode}", lambda check=check, mode=mode: check(mode, device)


def outcome(check: Callable[[], None]) -> str:
    """What a check says: ``ok``, ``skipped: …`` or ``FAILED: …``."""
    try:
        check()
    except SkippedError as reason:
        return f"skipped: {reason}"
    except Exception as error:
        traceback.print_exc()
        return f"FAILED: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return "ok"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and print a table; 1 if one failed, 2 if there is no kernel to check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=native.DEVICES, default="cuda")
    parser.add_argument("--build", action="store_true", help="compile for this device first, unless that is done")
    parser.add_argument("--only", default="", help="checks whose name holds this word")
    parser.add_argument("--write", type=Path, help="folder of the page, which is named after the GPU")
    chosen = parser.parse_args(arguments)
    if chosen.build:
        build("ms_deform_attn", cuda=chosen.device == "cuda", report=lambda line: print(line, file=sys.stderr))
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here", file=sys.stderr)
        return 2
    if not native.serves(chosen.device, torch.float32):
        print(f"There is no kernel for {chosen.device} to check: {find('ms_deform_attn').reason}", file=sys.stderr)
        return 2
    outcomes = {name: outcome(check) for name, check in checks(chosen.device) if chosen.only in name}
    failed = sum(said.startswith("FAILED") for said in outcomes.values())
    name = torch.cuda.get_device_name() if chosen.device == "cuda" else "CPU"
    lines = [f"# Multi-scale deformable attention on {name}: {len(outcomes)} checks, {failed} failed\n"]
    lines += [f"torch {torch.__version__}, CUDA {torch.version.cuda}\n", "| Check | Outcome |", "|---|---|"]
    lines += [f"| {check} | {said} |" for check, said in outcomes.items()]
    print(*lines, sep="\n")
    if chosen.write:
        chosen.write.mkdir(parents=True, exist_ok=True)
        page = chosen.write / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.checks.md"
        page.write_text("\n".join(lines) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
