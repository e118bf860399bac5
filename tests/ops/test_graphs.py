"""Multi-scale deformable attention in graphs: compiled, exported, and as ONNX without any operator of our own."""

import numpy as np
import pytest
import torch
from torch import nn

from repro.ops.ms_deform_attn import MODES, implementation, level_starts, ms_deform_attn, native

SHAPES, POINTS = [(6, 5), (3, 4)], [3, 1]
NAMES = ["reference", "native"]


class Attend(nn.Module):
    """The operator alone."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, value, locations, weights):
        return ms_deform_attn(
            value, SHAPES, level_starts(SHAPES), locations, weights, points_per_level=POINTS, mode=self.mode
        )


@pytest.fixture
def tensors():
    draw = torch.Generator().manual_seed(0)
    value = torch.randn(2, 42, 2, 8, generator=draw)
    return value, torch.rand(2, 7, 2, 4, 2, generator=draw), torch.rand(2, 7, 2, 4, generator=draw)


def needs(name):
    if name == "native" and not native.serves("cpu", torch.float32):
        pytest.skip("the operator is not built: repro ops build")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["bilinear", "discrete"])
def test_compiles_without_graph_breaks(name, mode, tensors):
    needs(name)
    torch._dynamo.reset()
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    again = [tensor.clone().requires_grad_() for tensor in tensors]
    with implementation(name):
        compiled = torch.compile(Attend(mode), fullgraph=True, backend="aot_eager")
        output, expected = compiled(*leaves), Attend(mode)(*again)
    torch.testing.assert_close(output, expected)
    output.sum().backward()
    expected.sum().backward()
    for ours, theirs in zip(leaves, again, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("mode", MODES)
def test_export_sees_one_operator(mode, tensors):
    needs("native")
    program = torch.export.export(Attend(mode), tensors)
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert called == ["repro.ms_deform_attn.default"]
    torch.testing.assert_close(program.module()(*tensors), Attend(mode)(*tensors))


@pytest.mark.parametrize("mode", MODES)
def test_onnx_needs_no_operator_of_ours(mode, tensors, tmp_path):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "attend.onnx"
    torch.onnx.export(
        Attend(mode).eval(),
        tensors,
        str(path),
        input_names=["value", "locations", "weights"],
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    model = onnx.load(str(path))
    kinds = {node.op_type for node in model.graph.node}
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"} and not model.functions
    assert ("GridSample" in kinds) == (mode == "bilinear")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = ("value", "locations", "weights")
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)})
    np.testing.assert_allclose(found, Attend(mode)(*tensors).numpy(), atol=1e-5)
