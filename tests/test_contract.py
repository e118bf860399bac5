"""What every detector promises; walks the folder, so a new detector is tested as soon as its file is there."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path

import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances

import repro.meta_arch

DETECTORS = sorted(path.stem for path in Path(repro.meta_arch.__file__).parent.glob("*.py") if path.stem != "__init__")
CLASSES = 3


def image(height, width, objects, seed):
    """One training input with everything that any of the detectors reads."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(objects, 2, generator=generator) * torch.tensor([width, height]) * 0.5
    size = torch.rand(objects, 2, generator=generator) * torch.tensor([width, height]) * 0.4 + 4
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(torch.cat([low, low + size], dim=1))
    instances.gt_classes = torch.randint(CLASSES, (objects,), generator=generator)
    instances.gt_masks = BitMasks(torch.rand(objects, height, width, generator=generator) < 0.5)
    return {
        "image": torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8),
        "crops": torch.randint(256, (objects, 3, 32, 32), generator=generator, dtype=torch.uint8),
        "sem_seg": torch.randint(CLASSES + 1, (height, width), generator=generator),
        "height": 2 * height,
        "width": 2 * width,
        "instances": instances,
        "image_id": seed,
    }


def build(name):
    torch.manual_seed(0)
    return importlib.import_module(f"repro.meta_arch.{name}").example(CLASSES)


@pytest.fixture(params=DETECTORS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return build(name)


def detections(model, inputs):
    with torch.no_grad():
        return [output["instances"] for output in model.eval()(inputs)]


def assert_same(a, b, **tolerance):
    torch.testing.assert_close(a.pred_boxes.tensor, b.pred_boxes.tensor, **tolerance)
    torch.testing.assert_close(a.scores, b.scores, **tolerance)
    assert torch.equal(a.pred_classes, b.pred_classes)


def test_some_detectors_were_found():
    expected = {"deformable_detr", "detr", "detreg", "faster_rcnn", "rtdetr", "soft_teacher", "up_detr"}
    assert expected <= set(DETECTORS)


def test_registered_under_its_own_name(model):
    from detectron2.modeling import META_ARCH_REGISTRY

    assert META_ARCH_REGISTRY.get(type(model).__name__) is type(model)


def test_losses_are_finite_scalars_and_reach_what_is_trained(model):
    # Some parameters start without gradient, because a later layer starts at zero: disturb them.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.01)
    losses = model.train()([image(96, 128, 3, seed=0), image(128, 80, 0, seed=1)])
    assert losses and all(value.ndim == 0 and value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []
    assert [name for name, parameter in trained.items() if not parameter.grad.isfinite().all()] == []
    assert [name for name, parameter in trained.items() if parameter.grad.abs().sum() == 0] == []


def test_no_objects_in_the_whole_batch(model):
    losses = model.train()([image(96, 96, 0, seed=0)])
    total = sum(losses.values())
    total.backward()
    assert total.isfinite()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_losses_are_in_single_precision_under_mixed_precision(model):
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.train()([image(96, 128, 3, seed=0), image(128, 80, 0, seed=1)])
    assert {value.dtype for value in losses.values()} == {torch.float32}
    total = sum(losses.values())
    total.backward()
    assert total.isfinite()


def test_detections_are_in_the_original_image_best_first(model):
    inputs = [image(96, 128, 3, seed=0)]
    (found,) = detections(model, inputs)
    assert found.image_size == (192, 256)
    assert len(found) > 0 and found.pred_boxes.tensor.shape == (len(found), 4)
    assert found.scores.min() >= 0 and found.scores.max() <= 1
    assert torch.equal(found.scores, found.scores.sort(descending=True).values)
    assert found.pred_classes.min() >= 0 and found.pred_classes.max() < CLASSES
    (small,) = detections(model, [{**inputs[0], "height": 96, "width": 128}])
    torch.testing.assert_close(found.pred_boxes.tensor, 2 * small.pred_boxes.tensor)


def test_a_result_does_not_depend_on_the_neighbours(model):
    inputs = [
        image(96, 128, 3, seed=0),
        image(128, 96, 2, seed=1),
        image(96, 128, 0, seed=2),
        image(80, 144, 1, seed=3),
    ]
    together = detections(model, inputs)
    for entry, found in zip(inputs, together, strict=True):
        assert_same(detections(model, [entry])[0], found, rtol=1e-4, atol=1e-4)


def test_saved_and_loaded_weights_give_equal_output(name, model, tmp_path):
    inputs = [image(96, 128, 3, seed=0)]
    expected = detections(model, inputs)[0]
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    torch.manual_seed(1)
    other = importlib.import_module(f"repro.meta_arch.{name}").example(CLASSES)
    other.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
    assert_same(detections(other, inputs)[0], expected, rtol=0, atol=0)


def test_a_copy_has_the_same_weights_and_its_own(model):
    duplicate = copy.deepcopy(model)
    assert duplicate.state_dict().keys() == model.state_dict().keys()
    with torch.no_grad():
        next(iter(duplicate.parameters())).add_(1)
    assert not torch.equal(next(iter(duplicate.parameters())), next(iter(model.parameters())))


def test_equal_seeds_give_equal_losses(name):
    inputs = [image(96, 128, 3, seed=0), image(128, 80, 2, seed=1)]
    histories = []
    for _ in range(2):
        model = build(name).train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
        history = []
        for _ in range(2):
            loss = sum(model(inputs).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        histories.append(history)
    assert histories[0] == histories[1]
