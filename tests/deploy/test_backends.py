"""Which libraries are here, and what is said of those that are not."""

import importlib.util

import pytest
import torch

from repro.deploy import backends
from repro.deploy.graph import example_inputs, graph
from repro.deploy.tensorrt_engine import build
from repro.errors import ExportError, InstallError
from repro.meta_arch import rtdetr

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_pytorch_is_always_here():
    assert backends.missing("eager", CPU) == backends.missing("compile", CPU) == ""


def test_half_precision_needs_a_gpu():
    assert backends.missing("eager", CPU, "fp16") == "half precision needs a GPU"
    assert backends.missing("eager", GPU, "fp16") == ""


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_what_is_not_installed_is_said_and_no_error(backend, monkeypatch):
    known = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == backend else known(name))
    assert backends.missing(backend, GPU) == f"{backend} not installed"


def test_tensorrt_without_a_gpu(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert backends.missing("tensorrt", CPU) == "needs a GPU"
    assert backends.missing("openvino", GPU) == "runs on the CPU here"


@pytest.mark.parametrize(
    ("backend", "precision", "near"), [("onxruntime", "fp32", "onnxruntime"), ("eager", "fp61", "fp16")]
)
def test_a_wrong_name_is_an_error(backend, precision, near):
    with pytest.raises(ExportError, match=f"Did you mean {near}"):
        backends.missing(backend, CPU, precision)


def test_an_engine_without_tensorrt_says_how_to_get_it(tmp_path):
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed")
    with pytest.raises(InstallError, match="pip install tensorrt"):
        build(tmp_path / "x.onnx", tmp_path / "x.engine", half=True)


def test_eager_runs_the_graph_itself():
    made = graph(rtdetr.example())
    inputs = example_inputs(made, (64, 64))
    found = backends.load("eager", made, None, CPU)(*inputs)
    assert all(torch.equal(one, other) for one, other in zip(found, made(*inputs), strict=True))
    assert not found[2].requires_grad
