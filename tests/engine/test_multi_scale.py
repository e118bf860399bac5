"""Testing at several scales: views are undone, detections compete, masks are averaged, one view changes nothing."""

from __future__ import annotations

import pytest
import torch
from detectron2.structures import Boxes, Instances
from torch import nn

from repro.data.augmentations.detr import ResizeShortEdge
from repro.engine.multi_scale import MultiScale
from repro.meta_arch import deformable_detr, htc
from repro.modeling.suppression import SoftNMS

SIZE = (96, 128)


def sample(seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(256, (3, *SIZE), generator=generator, dtype=torch.uint8)
    return {"image": image, "height": SIZE[0], "width": SIZE[1], "image_id": seed}


def trained(module):
    """An HTC whose classes and masks are not all alike."""
    torch.manual_seed(0)
    model = module.example().eval()
    for name, parameter in model.named_parameters():
        if "cls_score" in name or "predictor" in name:
            nn.init.normal_(parameter, std=0.3)
    return model


def resized(entry, short_edge):
    transform = ResizeShortEdge(short_edge, 400).get_transform(entry["image"])
    return {**entry, "image": transform.apply_image(entry["image"])}


@pytest.mark.parametrize("suppress", [None, SoftNMS("gaussian")], ids=["hard", "soft"])
def test_one_view_is_the_plain_detector(suppress):
    model = trained(htc)
    with torch.no_grad():
        (plain,) = model([resized(sample(), 80)])
        (found,) = MultiScale(model, [[80, 400]], flip=False, suppress=suppress)([sample()])
    plain, found = plain["instances"], found["instances"]
    assert len(plain) > 5
    torch.testing.assert_close(found.pred_boxes.tensor, plain.pred_boxes.tensor)
    assert torch.equal(found.scores, plain.scores) and torch.equal(found.pred_classes, plain.pred_classes)
    assert found.pred_masks.shape == (len(found), *SIZE) and 0 < plain.pred_masks.float().mean() < 1
    assert (found.pred_masks != plain.pred_masks).float().mean() < 1e-4  # boxes went to the image and back


def test_one_view_of_a_detector_without_masks():
    torch.manual_seed(0)
    model = deformable_detr.example().eval()
    with torch.no_grad():
        (plain,) = model([resized(sample(), 80)])
        (found,) = MultiScale(model, [[80, 400]], flip=False)([sample()])
    assert torch.equal(found["instances"].pred_boxes.tensor, plain["instances"].pred_boxes.tensor)


class Finder(nn.Module):
    """Finds the box of what is bright, the surer the larger the image."""

    def forward(self, inputs):
        return [{"instances": self.find(entry)} for entry in inputs]

    def find(self, entry):
        bright = entry["image"][0] > 127
        rows, columns = bright.any(1).nonzero().flatten(), bright.any(0).nonzero().flatten()
        box = torch.tensor([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]]).float()
        box *= entry["width"] / bright.shape[1]
        scores = torch.tensor([bright.shape[1] / 1000])
        return Instances((entry["height"], entry["width"]), pred_boxes=Boxes(box), scores=scores,
                         pred_classes=torch.tensor([2]))  # fmt: skip


def test_views_are_undone_and_compete():
    """A box at the left is found four times in the same place, so one is left, with the best score."""
    entry = sample()
    entry["image"] = torch.zeros_like(entry["image"])
    entry["image"][:, 24:72, 8:40] = 255
    (found,) = MultiScale(Finder(), [[48, 400], [192, 400]])([entry])
    found = found["instances"]
    torch.testing.assert_close(found.pred_boxes.tensor, torch.tensor([[8.0, 24, 40, 72]]))
    assert found.scores.tolist() == pytest.approx([0.256]) and found.pred_classes.tolist() == [2]
    (soft,) = MultiScale(Finder(), [[48, 400], [192, 400]], suppress=SoftNMS("gaussian", sigma=1.0))([entry])
    assert len(soft["instances"]) > 1 and soft["instances"].scores[0] == found.scores[0]
    (few,) = MultiScale(Finder(), [[48, 400], [192, 400]], suppress=SoftNMS("gaussian", sigma=1.0), topk=1)([entry])
    assert len(few["instances"]) == 1


def test_masks_are_the_mean_over_the_views(monkeypatch):
    """Masks of the left half of each box: with mirrored views the mean is one half everywhere, which is the whole."""
    model = trained(htc)

    def left_half(inputs, given, do_postprocess):
        (boxes,) = given
        boxes.pred_masks = torch.zeros(len(boxes), 1, 16, 16)
        boxes.pred_masks[..., :8] = 1.0
        seen.append((inputs[0]["image"].shape[1:], boxes.pred_boxes.tensor.clone()))
        return [boxes]

    seen = []
    monkeypatch.setattr(model, "inference", left_half)
    (found,) = MultiScale(model, [[96, 400], [48, 400]], flip=True)([sample()])
    found = found["instances"]
    assert found.pred_masks.shape == (len(found), *SIZE)
    sizes = [tuple(size) for size, _ in seen]
    assert sizes == [(96, 128), (96, 128), (48, 64), (48, 64)]
    plain, mirror, small, _ = (boxes for _, boxes in seen)
    torch.testing.assert_close(small, plain / 2)
    torch.testing.assert_close(mirror[:, 0], 128 - plain[:, 2])
    only = MultiScale(model, [[96, 400]], flip=False)([sample()])[0]["instances"]

    def share(instances):
        box = instances.pred_boxes.tensor[0]
        return instances.pred_masks[0].sum() / ((box[2] - box[0]) * (box[3] - box[1]))

    assert share(only) == pytest.approx(0.5, abs=0.1)
    assert share(found) == pytest.approx(1.0, abs=0.1)
