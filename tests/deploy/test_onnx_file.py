"""ONNX files of detectors: what is in them, and that the libraries which run them answer as PyTorch does.

On real photographs where REPRO_BCCD says where BCCD lies, and always on drawn ones.
"""

import copy
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from repro.data.images import read_image
from repro.deploy import backends, compare, onnx_file
from repro.deploy.graph import RAW_OUTPUTS, graph
from repro.engine import config, trained
from repro.errors import ExportError
from repro.meta_arch import deformable_detr, detr

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
CPU = torch.device("cpu")
SIZE = (64, 96)


def small(recipe):
    """A detector of a recipe, cut down further: every node of a graph costs the exporter milliseconds."""
    made = copy.deepcopy(config.resolve(recipe, {}, "tiny").recipe)
    made["model"]["backbone"]["depth"] = 10
    made["model"]["transformer"]["decoder"]["num_layers"] = 1
    return settled(trained.load(made, None, CPU), SIZE)


def settled(detector, size):
    """The same with statistics of images in its normalisations.

    Else all tokens of random weights score alike, and rounding decides which of them become queries.
    """
    detector.train()
    with torch.no_grad():
        detector.transformer.encode(detector.neck(detector.backbone(inputs(drawn(4), size)[0])))
    return detector.eval()


def drawn(count):
    """Photographs of nobody: discs on noise, of different sizes."""
    images = []
    for number in range(count):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 256, (90 + 20 * number, 120, 3), dtype=np.uint8)
        cv2.circle(image, (40, 50), 25, (200, 30 * number, 60), -1)
        images.append(image)
    return images


def photographs(count):
    if not os.environ.get("REPRO_BCCD"):
        pytest.skip("REPRO_BCCD does not say where BCCD's photographs are; CI has none")
    files = sorted((Path(os.environ["REPRO_BCCD"]) / "JPEGImages").glob("*.jpg"))[:count]
    return [read_image(file) for file in files]


def inputs(images, size):
    height, width = size
    resized = np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images])
    pixels = torch.from_numpy(resized).permute(0, 3, 1, 2).float() / 255
    return pixels, torch.tensor([[image.shape[1], image.shape[0]] for image in images])


def apart(made, path, images, size, backend="onnxruntime"):
    """How far a library's detections are from PyTorch's."""
    pytest.importorskip(backend)
    tensors = inputs(images, size)
    with torch.no_grad():
        expected = [one.numpy() for one in made(*tensors)]
    found = backends.load(backend, made, path, CPU)(*tensors)
    return compare.difference(found, expected, tensors[1].numpy())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """RT-DETR's first version, with post-processing: the graph and its file."""
    made = graph(small("rtdetr/rtdetr_r18vd.py"))
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return made, onnx_file.write(made, path, SIZE, class_names=["Wärme", "b"])


def test_its_inputs_and_outputs_are_those_of_the_released_exporter(written):
    model = onnx.load(str(written[1]))
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "images": ["batch", 3, 64, 96],
        "orig_target_sizes": ["batch", 2],
        "labels": ["batch", 30],
        "boxes": ["batch", 30, 4],
        "scores": ["batch", 30],
    }
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    assert kinds["images"] == kinds["boxes"] == kinds["scores"] == onnx.TensorProto.FLOAT
    assert kinds["orig_target_sizes"] == kinds["labels"] == onnx.TensorProto.INT64


def test_it_holds_standard_operators_and_nothing_infinite(written):
    model = onnx.load(str(written[1]))
    onnx.checker.check_model(model)
    assert not model.functions and {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert [one.version for one in model.opset_import if one.domain == ""] == [18]
    kinds = onnx_file.operators(written[1])
    assert kinds["GridSample"] == 3  # one layer, three levels
    assert kinds["LayerNormalization"] == 6  # whole: AIFI's two, the selection's one, the decoder layer's three
    constants = [onnx.numpy_helper.to_array(one) for one in model.graph.initializer]
    constants += [
        onnx.numpy_helper.to_array(attribute.t)
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.type == onnx.AttributeProto.TENSOR
    ]
    assert all(np.isfinite(one).all() for one in constants)


def test_it_says_what_a_program_must_know(written):
    about = {one.key: json.loads(one.value) for one in onnx.load(str(written[1])).metadata_props}
    assert about["size"] == [64, 96] and about["names"] == ["Wärme", "b"] and "RGB" in about["pixels"]


@pytest.mark.parametrize("count", [1, 3])
def test_onnx_runtime_answers_as_pytorch_does_whatever_the_batch(written, count):
    assert apart(*written, drawn(count), SIZE) < 1e-4


def test_onnx_runtime_answers_as_pytorch_does_on_photographs(written):
    assert apart(*written, photographs(4), SIZE) < 1e-4


def test_openvino_answers_as_pytorch_does(written):
    assert apart(*written, drawn(2), SIZE, "openvino") < 1e-4


def test_a_raw_file_in_a_discrete_mode_has_no_grid_sample(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    made = graph(small("rtdetr/rtdetrv2_r18vd_discrete.py"), postprocess=False)
    path = onnx_file.write(made, tmp_path / "raw.onnx", SIZE, batch=3)  # fixed, which the exporter is quicker with
    assert "GridSample" not in onnx_file.operators(path)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == list(RAW_OUTPUTS)
    pixels, _ = inputs(drawn(3), SIZE)
    with torch.no_grad():
        expected = made(pixels)
    for ours, theirs in zip(session.run(None, {"images": pixels.numpy()}), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)


@pytest.mark.slow
def test_the_smallest_model_at_its_real_size(tmp_path):
    detector = trained.load(config.resolve("rtdetr/rtdetrv2_r18vd.py").recipe, None, CPU)
    made = graph(settled(detector, (640, 640)))
    path = onnx_file.write(made, tmp_path / "s.onnx", (640, 640))
    assert onnx_file.operators(path)["GridSample"] == 9
    assert apart(made, path, drawn(2), (640, 640)) < 1e-4
    if os.environ.get("REPRO_BCCD"):
        assert apart(made, path, photographs(1), (640, 640)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("family", [deformable_detr, detr], ids=["deformable_detr", "detr"])
def test_its_relatives_are_exported_too(family, tmp_path):
    torch.manual_seed(0)
    made = graph(family.example())
    path = onnx_file.write(made, tmp_path / "relative.onnx", SIZE)
    assert apart(made, path, drawn(2), SIZE) < 1e-4


def test_an_old_opset_is_refused(tmp_path):
    with pytest.raises(ExportError, match="opset 16 is not supported; 17 to"):
        onnx_file.write(None, tmp_path / "x.onnx", SIZE, opset=16)
