"""Libraries that run a graph: which are here, and how each is made ready for images of one size."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repro.deploy import tensorrt_engine
from repro.deploy.graph import RawGraph
from repro.errors import ExportError, did_you_mean

Runner = Callable[..., tuple[Any, ...]]
"""Takes the graph's inputs and returns its outputs, tensors or arrays, when they are there."""

BACKENDS = ("eager", "compile", "onnxruntime", "openvino", "tensorrt")
"""PyTorch as it is, ``torch.compile``, ONNX Runtime, OpenVINO, TensorRT."""

PRECISIONS = ("fp32", "fp16")


def missing(backend: str, device: torch.device, precision: str = "fp32") -> str:
    """Say why a library cannot be used here; empty where it can.

    Raises:
        ExportError: there is no such library, or no such precision.
    """
    if backend not in BACKENDS:
        raise ExportError(f"there is no backend {backend!r}. {did_you_mean(backend, BACKENDS)}")
    if precision not in PRECISIONS:
        raise ExportError(f"there is no precision {precision!r}. {did_you_mean(precision, PRECISIONS)}")
    if backend in ("eager", "compile"):
        slow = precision == "fp16" and device.type != "cuda"
        return "half precision needs a GPU" if slow else ""
    absent = [name for name in _needs(backend) if importlib.util.find_spec(name) is None]
    if absent:
        return f"{' and '.join(absent)} not installed"
    if backend == "tensorrt":
        return "" if device.type == "cuda" else "needs a GPU"
    if precision != "fp32":
        return "runs in single precision only"
    if device.type != "cuda":
        return ""
    return "runs on the CPU here" if backend == "openvino" or not _onnxruntime_on_gpu() else ""


def _needs(backend: str) -> tuple[str, ...]:
    return ("tensorrt" if backend == "tensorrt" else backend, "onnx", "onnxscript")


def _onnxruntime_on_gpu() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def load(backend: str, made: RawGraph, onnx: Path | None, device: torch.device, precision: str = "fp32") -> Runner:
    """Make a library ready to run a graph, with as many threads as PyTorch has.

    Args:
        backend: one of `BACKENDS` that is not `missing`.
        made: the graph, on the device.
        onnx: its ONNX file, where `takes_file`.
        device: where it runs.
        precision: of the arithmetic.
    """
    if backend in ("eager", "compile"):
        return _torch(made if backend == "eager" else torch.compile(made, dynamic=False), device, precision)
    assert onnx is not None
    match backend:
        case "onnxruntime":
            return _onnxruntime(onnx, device)
        case "openvino":
            return _openvino(onnx)
        case _:
            engine = tensorrt_engine.build(onnx, onnx.with_suffix(".engine"), half=precision == "fp16")
            return _synchronised(tensorrt_engine.Engine(engine))


def takes_file(backend: str) -> bool:
    """Whether a library runs the ONNX file and not the graph itself."""
    return backend not in ("eager", "compile")


def _torch(made: Callable[..., tuple[Tensor, ...]], device: torch.device, precision: str) -> Runner:
    half = precision == "fp16"

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=half):
            return made(*inputs)

    return _synchronised(run) if device.type == "cuda" else run


def _synchronised(run: Callable[..., tuple[Tensor, ...]]) -> Runner:
    def waiting(*inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = run(*inputs)
        torch.cuda.synchronize()
        return outputs

    return waiting


def _onnxruntime(onnx: Path, device: torch.device) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    session = onnxruntime.InferenceSession(str(onnx), options, providers=[provider])
    names = [one.name for one in session.get_inputs()]

    def run(*inputs: Tensor) -> tuple[Any, ...]:
        arrays = (one.cpu().numpy() for one in inputs)
        return tuple(session.run(None, dict(zip(names, arrays, strict=True))))

    return run


def _openvino(onnx: Path) -> Runner:
    import openvino

    # On CPUs that have it, OpenVINO takes bfloat16 unless told otherwise.
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(str(onnx), "CPU", settings)
    request = compiled.create_infer_request()

    def run(*inputs: Tensor) -> tuple[Any, ...]:
        found = request.infer([one.cpu().numpy() for one in inputs])
        return tuple(found[output] for output in compiled.outputs)

    return run
