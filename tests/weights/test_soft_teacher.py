"""Released Soft Teachers under our names, tried on state dictionaries of their names and shapes."""

import pytest
import torch
import torchvision

from repro.engine import config
from repro.errors import StageError
from repro.weights import faster_rcnn, soft_teacher


def pair(name, *shape):
    return {f"{name}.weight": torch.randn(shape), f"{name}.bias": torch.randn(shape[0])}


def published(depth, value=0.0):
    """A Faster R-CNN as mmdetection 2 and 3 name it, from torchvision's names of the backbone."""
    network = {50: torchvision.models.resnet50, 101: torchvision.models.resnet101}[depth](weights=None)
    state = {f"backbone.{name}": entry for name, entry in network.state_dict().items() if not name.startswith("fc.")}
    for level, channels in enumerate((256, 512, 1024, 2048)):
        state |= pair(f"neck.lateral_convs.{level}.conv", 256, channels, 1, 1)
        state |= pair(f"neck.fpn_convs.{level}.conv", 256, 256, 3, 3)
    state |= pair("rpn_head.rpn_conv", 256, 256, 3, 3) | pair("rpn_head.rpn_cls", 3, 256, 1, 1)
    state |= pair("rpn_head.rpn_reg", 12, 256, 1, 1)
    state |= pair("roi_head.bbox_head.shared_fcs.0", 1024, 12544) | pair("roi_head.bbox_head.shared_fcs.1", 1024, 1024)
    return state | pair("roi_head.bbox_head.fc_cls", 81, 1024) | pair("roi_head.bbox_head.fc_reg", 320, 1024)


@pytest.fixture(scope="module")
def r50():
    torch.manual_seed(0)
    return published(50)


def both(student, teacher):
    return {f"student.{name}": v for name, v in student.items()} | {f"teacher.{name}": v for name, v in teacher.items()}


@pytest.mark.parametrize(("depth", "tensors"), [(50, 348), (101, 654)])
def test_the_names_and_shapes_are_those_of_the_recipes_detector(depth, tensors, r50):
    state = r50 if depth == 50 else published(101)
    assert len(state) == tensors
    recipe = config.load("soft_teacher/supervised_coco_percent.py")["model"]
    recipe["backbone"]["bottom_up"]["depth"] = depth
    with torch.device("meta"):
        own = config.build(recipe).state_dict()
    constant = {name for name in own if "cell_anchors" in name}
    found = faster_rcnn.convert(state)
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in own.items() if name not in constant
    }
    assert len(found) in faster_rcnn.TENSORS


def test_student_and_teacher_stay_apart(r50):
    teacher = {name: value + 1 for name, value in r50.items()}
    found = soft_teacher.convert({"meta": {"CLASSES": ()}, "state_dict": both(r50, teacher), "optimizer": {}})
    assert len(found) == 2 * 295
    name = "roi_heads.box_predictor.bbox_pred.weight"
    assert found[f"student.{name}"] is r50["roi_head.bbox_head.fc_reg.weight"]
    assert torch.equal(found[f"teacher.{name}"], r50["roi_head.bbox_head.fc_reg.weight"] + 1)
    assert found["student.backbone.fpn_lateral2.weight"].shape == (256, 256, 1, 1)
    assert found["student.backbone.bottom_up.res5.0.shortcut.norm.running_var"] is r50[
        "backbone.layer4.0.downsample.1.running_var"
    ]  # fmt: skip


def test_a_plain_detector_is_put_into_both(r50):
    found = soft_teacher.convert(r50)
    assert len(found) == 2 * 295
    assert all(found[f"student.{name}"] is value for name, value in faster_rcnn.convert(r50).items())
    assert all(found[f"teacher.{name}"] is value for name, value in faster_rcnn.convert(r50).items())


def test_there_and_back(r50):
    original = both(r50, {name: value + 1 for name, value in r50.items()})
    back = soft_teacher.to_published(soft_teacher.convert(original))
    assert back.keys() == original.keys()
    assert all(torch.equal(back[name], value) for name, value in original.items() if "num_batches" not in name)
    assert faster_rcnn.to_published(faster_rcnn.convert(r50)).keys() == r50.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state | {"bbox_head.fc_cls.weight": torch.zeros(81, 1024)}, "mmdetection 1"),
        (lambda state: state | {"mask_head.conv.weight": torch.zeros(1)}, "mask_head.conv.weight is no weight"),
        (lambda state: dict(list(state.items())[:-1]), r"294 tensors; expected 295 \(ResNet-50\) or 550"),
        (lambda state: state | {"roi_head.bbox_head.fc_reg.weight": torch.zeros(4, 1024)}, "81 classes .* 4 offsets"),
        (lambda state: {f"student.{name}": value for name, value in state.items()}, "student and none of the other"),
    ],
)
def test_what_does_not_fit_is_refused(r50, change, message):
    with pytest.raises(StageError, match=message):
        soft_teacher.convert(change(dict(r50)))


def test_converted_weights_compute_what_the_named_layers_do(r50):
    """Our neck on their weights is their neck: lateral 1×1, add the one above, 3×3."""
    recipe = config.load("soft_teacher/supervised_coco_percent.py")["model"]
    model = config.build(recipe["backbone"]).eval()
    weights = {n.removeprefix("backbone."): v for n, v in faster_rcnn.convert(r50).items() if n.startswith("backbone.")}
    model.load_state_dict(weights)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found, maps = model(images), model.bottom_up(images)
        top = torch.nn.functional.conv2d(
            maps["res5"], r50["neck.lateral_convs.3.conv.weight"], r50["neck.lateral_convs.3.conv.bias"]
        )
        p5 = torch.nn.functional.conv2d(
            top, r50["neck.fpn_convs.3.conv.weight"], r50["neck.fpn_convs.3.conv.bias"], padding=1
        )
    torch.testing.assert_close(found["p5"], p5, rtol=1e-4, atol=1e-3 * p5.abs().max().item())
