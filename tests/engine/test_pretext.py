"""The stand-ins for downloaded weights: assignments by hand, and that both tasks can be learned."""

import numpy as np
import pytest
import torch

from repro.engine import pretext
from repro.modeling.backbone import resnet

PIXELS = {"pixel_mean": [120.0] * 3, "pixel_std": [60.0] * 3}


def backbone():
    return resnet(10, width=8, norm="BN", freeze_at=0, out_features=["res3"])


def test_assignments_use_all_prototypes_equally():
    scores = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) * 0.1 + torch.arange(8) * 0.05
    assignment = pretext.sinkhorn(scores, epsilon=0.05, iterations=200)
    torch.testing.assert_close(assignment.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(assignment.sum(dim=0), torch.full((8,), 8.0), rtol=1e-3, atol=1e-3)
    assert (scores.argmax(dim=1) == 7).float().mean() > 0.3  # although one prototype is the nearest of most


def test_equal_views_of_two_kinds_get_two_assignments():
    # Two samples, two prototypes, by hand: the only balanced assignment that follows the scores is the identity.
    assignment = pretext.sinkhorn(torch.tensor([[1.0, 0.0], [0.9, 0.5]]), epsilon=0.05, iterations=50)
    torch.testing.assert_close(assignment, torch.eye(2), rtol=0, atol=0.02)


def colours(rng, label):
    view = np.zeros((3, 32, 32)) + 120 + rng.normal(0, 20, (3, 1, 1))
    view[label] += 60
    return torch.from_numpy(view.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("task", ["labels", "swav"])
def test_both_tasks_can_be_learned(task):
    torch.manual_seed(0)
    if task == "labels":
        model, below = pretext.Classifier(backbone(), num_classes=3, **PIXELS), 0.3
    else:
        model, below = pretext.SwAV(backbone(), num_prototypes=6, dim=8, epsilon=0.02, **PIXELS), np.log(6) - 0.3
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(30):
        labels = rng.integers(0, 3, 24)
        views = 1 if task == "labels" else 3
        inputs = [{"views": [colours(rng, label) for _ in range(views)], "label": int(label)} for label in labels]
        loss = sum(model(inputs).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > below
    assert np.mean(losses[-5:]) < below


@pytest.fixture
def record(tmp_path):
    import cv2

    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    objects = [
        {"bbox": [10.0, 10.0, 30.0, 40.0], "category_id": 5, "iscrowd": 0},
        {"bbox": [0.0, 0.0, 80.0, 60.0], "category_id": 1, "iscrowd": 1},
    ]
    return {"file_name": str(tmp_path / "a.png"), "image_id": 1, "height": 60, "width": 80, "annotations": objects}


def test_crops_show_an_object_and_its_class_but_no_crowd(record):
    mapper = pretext.LabelledCrops(size=24)
    samples = [mapper(record, np.random.default_rng(seed)) for seed in range(10)]
    assert {sample["label"] for sample in samples} == {5}
    assert samples[0]["views"][0].shape == (3, 24, 24)
    record["annotations"] = record["annotations"][1:]
    assert mapper(record, np.random.default_rng(0)) is None  # the loader takes another image


def test_views_have_their_sizes_and_repeat_with_the_generator(record):
    mapper = pretext.MultiCrop(sizes=[32, 32, 16], areas=[[0.2, 1.0], [0.2, 1.0], [0.05, 0.2]])
    first, again, other = (mapper(record, np.random.default_rng(seed))["views"] for seed in (0, 0, 1))
    assert [tuple(view.shape) for view in first] == [(3, 32, 32), (3, 32, 32), (3, 16, 16)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("box", [[-20, -20, 5, 5], [79, 59, 79.5, 59.5], [0, 0, 500, 500]])
def test_any_box_can_be_cut_out(box):
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    assert pretext.cut(image, np.array(box, dtype=float), 8).shape == (3, 8, 8)
