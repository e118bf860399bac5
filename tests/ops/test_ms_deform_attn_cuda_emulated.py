"""The CUDA kernels' own source files, run on a processor by tests/ops/emulator: every thread, shuffle and index."""

import ctypes
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch

from repro.ops import ms_deform_attn as package
from repro.ops.ms_deform_attn import MODES
from repro.ops.ms_deform_attn.cases import LAYOUTS, Case, Inputs, Results, cases, compare
from repro.ops.ms_deform_attn.selfcheck import check_strange_locations

KERNELS = Path(package.__file__).parent / "csrc" / "cuda"
EMULATOR = Path(__file__).parent / "emulator"
pytestmark = pytest.mark.slow  # compiles for 15 s

TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]  # in the order of kernels.h


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """The object files for sm_90; of ``backward.cu``, the one file that differs, those for sm_75 too."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    folder = tmp_path_factory.mktemp("emulated")
    options = [
        "-O0",
        "-std=c++20",
        "-fPIC",
        "-Wno-unknown-pragmas",
        "-ffp-contract=off",
        f"-I{EMULATOR}",
        f"-I{KERNELS}",
    ]
    jobs = []
    for source in (*sorted(KERNELS.glob("*.cu")), EMULATOR / "entry.cpp"):
        for arch in (75, 90) if source.stem == "backward" else (90,):
            made = folder / f"{source.stem}.{arch}.o"
            defined = f"-D__CUDA_ARCH__={arch}0"
            call = [compiler, *options, defined, "-c", "-x", "c++", str(source), "-o", str(made)]
            jobs.append(subprocess.Popen(call))
    assert [job.wait() for job in jobs] == [0] * len(jobs)
    return folder


@pytest.fixture(scope="module")
def emulated(objects):
    """Kernels as `selfcheck` takes them, by compute capability: from 90 on, additions of four words at once."""
    return {arch: partial(run, linked(objects, arch)) for arch in (75, 90)}


def linked(objects: Path, arch: int):
    files = [objects / f"backward.{arch}.o", *(path for path in objects.glob("*.90.o") if path.stem != "backward.90")]
    library = objects / f"emulated.{arch}.so"
    subprocess.run(["g++", "-shared", "-o", str(library), *map(str, files)], check=True)
    return ctypes.CDLL(str(library)).run


def run(entry, case: Case, inputs: Inputs, most_images: int = 0, multiprocessors: int = 100) -> Results:
    """Call a library that was built above; with ``most_images``, the deterministic value gradient, in such passes."""
    sums = torch.promote_types(case.dtype, torch.float32)
    padded = [Padded(tensor) for tensor in inputs]
    value, locations, weights, grad_output = inputs
    outputs = [
        Padded(torch.full_like(grad_output, torch.nan)),
        Padded(torch.full_like(value, torch.nan) if most_images else torch.zeros_like(value, dtype=sums)),
        Padded(torch.full_like(locations, torch.nan if case.mode == "bilinear" else 7)),
        Padded(torch.full_like(weights, torch.nan)),
    ]
    first, levels = 0, []
    for (height, width), count in zip(case.shapes, case.points, strict=True):
        last = (min(height, width) if case.mode == "discrete" else width) - 1
        levels += [first, height, width, last]
        first += count
    sizes = [*value.shape, case.queries, sum(case.points), len(case.points), case.mode == "bilinear", multiprocessors]
    sizes += [TYPES.index(case.dtype), case.half_weights]
    pointers = ctypes.c_void_p * 4
    error = entry(
        (ctypes.c_int * len(sizes))(*map(int, sizes)),
        (ctypes.c_int * 64)(*levels),
        pointers(*[tensor.pointer for tensor in padded]),
        pointers(*[tensor.pointer for tensor in outputs]),
        ctypes.c_long(outputs[1].inner.nbytes),
        most_images,
    )
    assert error == 0
    output, grad_value, grad_locations, grad_weights = (tensor.checked() for tensor in outputs)
    if case.mode != "bilinear":
        assert (grad_locations == 7).all()  # not touched
        return Results(output, grad_value.to(case.dtype), None, grad_weights)
    return Results(output, grad_value.to(case.dtype), grad_locations, grad_weights)


class Padded:
    """A tensor between two margins of NaN: reading them spoils the result, and writing them shows."""

    margin = 64  # elements, a multiple of 16 bytes

    def __init__(self, tensor: torch.Tensor) -> None:
        self.whole = torch.full((tensor.numel() + 2 * self.margin,), torch.nan, dtype=tensor.dtype)
        self.inner = self.whole[self.margin : self.margin + tensor.numel()].view(tensor.shape)
        self.inner.copy_(tensor)
        self.pointer = self.inner.data_ptr()

    def checked(self) -> torch.Tensor:
        assert self.whole[: self.margin].isnan().all() and self.whole[-self.margin :].isnan().all()
        return self.inner


@pytest.mark.parametrize(
    ("arch", "most_images"), [(75, 0), (90, 0), (90, 100)], ids=["sm_75", "sm_90", "deterministic"]
)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_kernels_agree_with_the_reference(emulated, dtype, arch, most_images):
    for case in cases([dtype]):
        compare(case, "cpu", partial(emulated[arch], most_images=most_images))


@pytest.mark.parametrize("channels", [16, 32, 3])
def test_many_queries_in_large_blocks_and_several_passes(emulated, channels):
    for heads, queries, most_images in ((8, 37, 0), (6, 50, 2)):
        case = Case("bilinear", torch.float32, channels, *LAYOUTS[0], batch=3, queries=queries, heads=heads)
        compare(case, "cpu", partial(emulated[90], most_images=most_images, multiprocessors=1))


@pytest.mark.parametrize("mode", MODES)
def test_locations_that_are_no_numbers(emulated, mode):
    check_strange_locations(mode, "cpu", partial(emulated[90], most_images=100))
