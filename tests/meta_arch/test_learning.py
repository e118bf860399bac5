"""Detectors learn: the least that a whole training step must be able to do."""

import pytest
import torch
from detectron2.structures import Boxes, Instances

from repro.meta_arch import deformable_detr, detr


@pytest.mark.slow
@pytest.mark.parametrize(("module", "score"), [(deformable_detr, 0.5), (detr, 0.02)], ids=["deformable_detr", "detr"])
def test_learns_two_images_by_heart(module, score):
    """Two squares of two colours: found, classified and placed after some steps. DETR's scores take far longer."""
    torch.manual_seed(0)
    model = module.example()
    images = torch.full((2, 3, 96, 96), 128, dtype=torch.uint8)
    images[0, 0, 16:56, 8:48] = 255
    images[1, 2, 40:88, 40:80] = 255
    boxes = [[8, 16, 48, 56], [40, 40, 80, 88]]
    inputs = []
    for picture, box, label in zip(images, boxes, [0, 2], strict=True):
        objects = Instances((96, 96), gt_boxes=Boxes(torch.tensor([box]).float()), gt_classes=torch.tensor([label]))
        inputs.append({"image": picture, "instances": objects})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(200):
        loss = sum(model.train()(inputs).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    for found, box, label in zip(model.eval()(inputs), boxes, [0, 2], strict=True):
        best = found["instances"][:1]
        assert best.pred_classes.item() == label and best.scores.item() > score
        assert (best.pred_boxes.tensor[0] - torch.tensor(box)).abs().max() < 6
