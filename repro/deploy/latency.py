"""A detector made ready to be timed: one pass over one image, in each of several libraries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from repro.deploy import backends, onnx_file
from repro.deploy.graph import example_inputs, graph


def prepare(
    model: nn.Module,
    names: Sequence[str],
    size: tuple[int, int],
    device: torch.device,
    precision: str,
    folder: Path,
) -> dict[str, Callable[[], object]]:
    """Return for each library a function that runs one image, with the choice of detections, to its end.

    Args:
        model: a detector of the DETR family, on the device.
        names: of `backends.BACKENDS`, none of them `backends.missing`.
        size: (height, width) of the image, whose pixels are random.
        device: where it runs.
        precision: of the arithmetic.
        folder: for files that libraries read, as long as the functions are used; one of an earlier call is read again.
    """
    made = graph(model)
    file = None
    if any(backends.takes_file(name) for name in names):
        file = folder / f"{size[0]}x{size[1]}.onnx"
        if not file.is_file():
            onnx_file.write(made, file, size, batch=1)
    inputs = example_inputs(made, size)
    runners = {name: backends.load(name, made, file, device, precision) for name in names}
    return {name: _bound(run, inputs) for name, run in runners.items()}


def _bound(run: backends.Runner, inputs: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    return lambda: run(*inputs)
