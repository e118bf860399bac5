import pytest
import torch
from detectron2.structures import Boxes, Instances


@pytest.fixture
def labelled():
    """Makes an image with two objects."""

    def make(seed=0, size=(96, 128)):
        generator = torch.Generator().manual_seed(seed)
        height, width = size
        objects = Instances(size)
        objects.gt_boxes = Boxes(torch.tensor([[10.0, 10, 50, 60], [60, 20, 100, 80]]))
        objects.gt_classes = torch.tensor([0, 2])
        image = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
        return {"image": image, "instances": objects, "height": height, "width": width, "image_id": seed}

    return make


@pytest.fixture
def unlabelled():
    """Makes two views of a noise image of 96 × 128: as it is, and shrunk to 80 × 112 and mirrored."""

    def make(seed=0):
        generator = torch.Generator().manual_seed(seed)
        image = torch.randint(256, (3, 96, 128), generator=generator, dtype=torch.uint8)
        rows, columns = torch.arange(80) * 96 // 80, torch.arange(111, -1, -1) * 128 // 112
        shrunk = torch.tensor([[-112 / 128, 0, 112], [0, 80 / 96, 0], [0, 0, 1]], dtype=torch.float64)
        return {
            "weak": {"image": image, "matrix": torch.eye(3, dtype=torch.float64)},
            "strong": {"image": image[:, rows][:, :, columns], "matrix": shrunk},
            "height": 96,
            "width": 128,
            "image_id": 100 + seed,
        }

    return make


@pytest.fixture
def proposals():
    """Makes a batch of images with so many regions and their crops."""

    def make(*counts):
        inputs = []
        for index, count in enumerate(counts):
            generator = torch.Generator().manual_seed(index)
            instances = Instances((96, 96))
            low = torch.rand(count, 2, generator=generator) * 40
            instances.gt_boxes = Boxes(torch.cat([low, low + 30], dim=1))
            instances.gt_classes = torch.zeros(count, dtype=torch.long)
            inputs.append(
                {
                    "image": torch.randint(256, (3, 96, 96), generator=generator, dtype=torch.uint8),
                    "crops": torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8),
                    "instances": instances,
                }
            )
        return inputs

    return make
