"""A detector as an ONNX file: standard operators only, any batch size, images of one size.

Opset 18 by default. From 17 on LayerNormalization is one operator: taken apart, as older files have it, TensorRT's half
precision overflows in it. Bilinear sampling is GridSample; a decoder in a discrete mode has none. Sizes are constants,
since the anchors and the positions of tokens depend on them. The meta-data say what a program that runs the file has to
know: the size, that pixels are RGB in 0…1, and the classes' names.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from repro.deploy.graph import RawGraph, example_inputs
from repro.errors import ExportError, InstallError
from repro.ops.ms_deform_attn import implementation

OPSET = 18
OPSETS = range(17, 24)
BATCH = "batch"
INSTALL = "python -m pip install -c repro/install/constraints.txt -e '.[export]'"


def write(
    made: RawGraph,
    path: Path,
    size: tuple[int, int],
    *,
    opset: int = OPSET,
    class_names: Sequence[str] = (),
    batch: int | None = None,
) -> Path:
    """Write a graph as an ONNX file, replacing an older one, and return its path.

    Args:
        made: the graph.
        path: the file.
        size: (height, width) of the images.
        opset: version of ONNX's operators.
        class_names: for the meta-data.
        batch: a fixed batch size; None leaves it open.

    Raises:
        ExportError: the opset is not supported, or the exporter fails.
        InstallError: the exporter's libraries are not installed.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset {opset} is not supported; {OPSETS[0]} to {OPSETS[-1]} are")
    _require("onnx", "onnxscript")
    inputs = example_inputs(made, size, batch or 2)  # an example of 1 would be taken for a constant
    open_axes = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs) if batch is None else None
    try:
        with implementation("reference"), _quiet(), torch.no_grad():
            program = torch.onnx.export(
                made,
                inputs,
                input_names=list(made.inputs),
                output_names=list(made.outputs),
                opset_version=opset,
                dynamic_shapes=open_axes,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises what it likes
        told = str(error).partition("Exception summary")
        raise ExportError(f"PyTorch's ONNX exporter failed: {(told[2] or told[0]).strip():.600}") from error
    assert program is not None
    _name_batch(program.model)
    height, width = size
    about = {"size": [height, width], "pixels": "RGB in 0…1, stretched to size", "names": list(class_names)}
    program.model.metadata_props.update({key: json.dumps(value, ensure_ascii=False) for key, value in about.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        program.save(str(temporary), external_data=False)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def operators(path: Path) -> dict[str, int]:
    """How often a file uses each operator."""
    import onnx

    counts: dict[str, int] = {}
    for node in onnx.load(str(path), load_external_data=False).graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts


def _name_batch(model: Any) -> None:
    """Call the open axis what it is; the exporter numbers it."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        shape = list(value.shape)
        if not isinstance(shape[0], int):
            value.shape = type(value.shape)([BATCH, *shape[1:]])


def _require(*modules: str) -> None:
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise InstallError(f"Exporting needs {' and '.join(missing)}. Install: {INSTALL}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of the exporter's own passes, which say nothing of the file."""
    logger = logging.getLogger("onnxscript")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
