import pytest
import torch
from detectron2.structures import Boxes, Instances


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
