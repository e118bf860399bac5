"""What the CUDA compiler makes of multi-scale deformable attention; needs no GPU.

Compiles each kernel file for each architecture, all files at once, and prints Markdown: seconds and bytes spilled; then
for each kernel its registers, and in brackets how many warps of 256-thread blocks a multiprocessor holds for it. With
``cuobjdump`` on the path (or in the package triton) it also counts the machine instructions of the loop over points.

    python benchmarks/perf/ms_deform_attn_build.py [--architectures 75 80 86 89 90]
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from repro.ops import library
from repro.ops.build import cuda_compiler

TYPES = {"f": "float32", "d": "float64", "6__half": "float16", "13__nv_bfloat16": "bfloat16"}
COUNTED = {
    "loads of 16 bytes": r"LDG\S*\.128",
    "shuffles": "SHFL",
    "multiply-adds": "FFMA",
    "additions to memory": "RED",
}


def compiled(nvcc: Path, arch: str, folder: Path) -> tuple[float, str]:
    """Seconds for all kernel files at once, and what the compiler says of them."""
    files = [path for path in library.sources("ms_deform_attn") if path.suffix == ".cu"]
    began = time.perf_counter()
    jobs = []
    for path in files:
        target = f"-gencode=arch=compute_{arch},code=sm_{arch}"
        command = [str(nvcc), "-O3", "-std=c++20", "-DNDEBUG", target, "-Xptxas", "-v", "-c", str(path)]
        made = ["-o", str(folder / f"{path.stem}.{arch}.o")]
        jobs.append(subprocess.Popen([*command, *made], stderr=subprocess.PIPE, text=True))
    said = [job.communicate()[1] for job in jobs]
    seconds = time.perf_counter() - began
    if any(job.returncode for job in jobs):
        raise SystemExit("\n".join(said))
    return seconds, "".join(said)


def described(mangled: str) -> str | None:
    """A kernel's name, type and shape; None for those that do not depend on channels."""
    found = re.search(
        r"(forward|backward|gather)_kernelI(f|d|6__half|13__nv_bfloat16)Li(\d+)ELi(\d+)E(\w+?)EEv", mangled
    )
    if found is None:
        return None
    name, dtype, vector, lanes, flags = found.groups()
    switches = re.findall(r"Lb(\d)E?", flags)
    width = int(vector) * int(lanes)
    channels = f"D = {width}" if switches[-1] == "1" else f"any D, {vector} at once"
    mode = "" if name == "gather" else (" bilinear" if switches[0] == "1" else " discrete")
    return f"{name}{mode} | {TYPES[dtype]} | {channels}"


def kernels(said: str) -> dict[str, tuple[int, int]]:
    """Registers and spilled bytes by kernel."""
    pattern = r"entry function '(\S+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers"
    found = {}
    for mangled, stores, loads, registers in re.findall(pattern, said, flags=re.DOTALL):
        name = described(mangled)
        if name is not None:
            found[name] = (int(registers), int(stores) + int(loads))
    return found


def warps(registers: int, arch: str) -> int:
    """How many warps of blocks of 256 threads fit, by registers: given out to a warp by 256, 65,536 in all."""
    most = {"75": 32, "86": 48, "89": 48}.get(arch, 64)
    of_block = 8 * (-(-registers * 32 // 256) * 256)
    return min(most, 65536 // of_block * 8)


def loop_counts(folder: Path, arch: str) -> Iterator[str]:
    """Rows with the instructions of the innermost loop that reads corners, by kernel of 32 channels."""
    tool = shutil.which("cuobjdump")
    triton = find_spec("triton")
    if tool is None and triton is not None and triton.origin:
        tool = shutil.which("cuobjdump", path=str(Path(triton.origin).parent / "backends/nvidia/bin"))
    if tool is None:
        return
    for path in sorted(folder.glob(f"*.{arch}.o")):
        text = subprocess.run([tool, "--dump-sass", str(path)], capture_output=True, text=True, check=True).stdout
        for part in text.split("Function : ")[1:]:
            name = described(part.split("\n")[0])
            if name is None or "D = 32" not in name or "float16" in name.replace("bfloat16", ""):
                continue
            code = re.findall(r"/\*([0-9a-f]{4,5})\*/\s+(.*?);", part)
            body = innermost([(int(address, 16), text) for address, text in code])
            counts = [sum(bool(re.search(rf"\b{kind}", text)) for text in body) for kind in COUNTED.values()]
            yield f"| {name} | {len(body)} | {' | '.join(map(str, counts))} |"


def innermost(code: Sequence[tuple[int, str]]) -> list[str]:
    """The shortest loop with 16-byte loads: what lies between a branch back and its target."""
    loops = []
    for address, text in code:
        target = re.search(r"BRA\S* (?:`\S+ )?(0x[0-9a-f]+)", text)
        if target and int(target[1], 16) < address:
            body = [text for place, text in code if int(target[1], 16) <= place <= address]
            if any(re.search(COUNTED["loads of 16 bytes"], line) for line in body):
                loops.append(body)
    return min(loops, key=len, default=[])


def main() -> None:
    """Compile, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", nargs="+", default=["75", "80", "86", "89", "90"])
    archs = parser.parse_args().architectures
    nvcc = cuda_compiler(required=True)
    assert nvcc is not None
    version = subprocess.run([str(nvcc), "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[
        -3
    ]
    found: dict[str, dict[str, tuple[int, int]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{version}\n\n| Architecture | Seconds | Kernels | Bytes spilled |\n|---|---|---|---|")
        for arch in archs:
            seconds, said = compiled(nvcc, arch, Path(scratch))
            found[arch] = kernels(said)
            spilled = sum(bytes_ for _, bytes_ in found[arch].values())
            print(f"| sm_{arch} | {seconds:.1f} | {len(re.findall('entry function', said))} | {spilled} |")
        print(f"\n| Kernel | Value | Channels | {' | '.join(f'sm_{arch}' for arch in archs)} |")
        print("|---" * (3 + len(archs)) + "|")
        for name in found[archs[0]]:
            cells = [f"{found[arch][name][0]} ({warps(found[arch][name][0], arch)})" for arch in archs]
            print(f"| {name} | {' | '.join(cells)} |")
        rows = list(loop_counts(Path(scratch), archs[-1]))
        if rows:
            print(f"\n| Kernel, sm_{archs[-1]} | Value | Channels | Instructions | {' | '.join(COUNTED)} |")
            print("|---" * (4 + len(COUNTED)) + "|", *rows, sep="\n")


if __name__ == "__main__":
    main()
