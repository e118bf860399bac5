"""A detector as a TensorRT engine: built from its ONNX file, and run.

Written after TensorRT 10's documentation; no machine of this project has had TensorRT, so nothing here has ever run.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repro.errors import ExportError, InstallError

WORKSPACE = 4 << 30  # bytes


def build(onnx: Path, path: Path, *, half: bool, max_batch: int = 1) -> Path:
    """Build an engine for this machine's GPU and return its path.

    Args:
        onnx: the file that it is built from.
        path: the engine's file.
        half: in half precision, but for the layers that overflow in it.
        max_batch: largest batch; the engine is tuned for batches of 1.

    Raises:
        InstallError: TensorRT is not installed.
        ExportError: it refuses the file; what it says is in the message.
    """
    trt = tensorrt()
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        errors = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise ExportError(f"TensorRT cannot read {onnx}: {errors}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    config.add_optimization_profile(_profile(builder, network, max_batch))
    if half:
        config.set_flag(trt.BuilderFlag.FP16)
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        _keep_norms_single(trt, network)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ExportError(f"TensorRT built no engine of {onnx}; its own messages say why")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(engine))
    return path


def _profile(builder: Any, network: Any, max_batch: int) -> Any:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        entry = network.get_input(index)
        rest = tuple(entry.shape)[1:]
        profile.set_shape(entry.name, (1, *rest), (1, *rest), (max_batch, *rest))
    return profile


def _keep_norms_single(trt: Any, network: Any) -> None:
    """Normalisations overflow in half precision on some GPUs (NVIDIA/TensorRT issue 3652, on this detector)."""
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.NORMALIZATION:
            layer.precision = trt.float32
            layer.set_output_type(0, trt.float32)


class Engine:
    """A built engine on the current GPU."""

    def __init__(self, path: Path) -> None:
        trt = tensorrt()
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self.inputs = [name for name in names if modes[name] == trt.TensorIOMode.INPUT]
        self.outputs = [name for name in names if modes[name] == trt.TensorIOMode.OUTPUT]
        kinds = {trt.float32: torch.float32, trt.float16: torch.float16, trt.int64: torch.int64, trt.int32: torch.int32}
        self._dtypes = {name: kinds[self._engine.get_tensor_dtype(name)] for name in names}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs of tensors on the GPU, in the order of the graph's; queued on the current stream."""
        for name, tensor in zip(self.inputs, inputs, strict=True):
            tensor = tensor.to(self._dtypes[name]).contiguous()
            self._context.set_input_shape(name, tuple(tensor.shape))
            self._context.set_tensor_address(name, tensor.data_ptr())
        made = []
        for name in self.outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            made.append(torch.empty(shape, dtype=self._dtypes[name], device=inputs[0].device))
            self._context.set_tensor_address(name, made[-1].data_ptr())
        self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        return tuple(made)


def tensorrt() -> Any:
    """Return the library.

    Raises:
        InstallError: it is not installed.
    """
    if importlib.util.find_spec("tensorrt") is None:
        raise InstallError("TensorRT is not installed. On a machine with a GPU: python -m pip install tensorrt")
    return importlib.import_module("tensorrt")
