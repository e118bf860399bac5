"""SSD's crop against torchvision's: the same numbers drawn, the same crop."""

import numpy as np
import torch
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes

from repro.data.augmentations.iou_crop import draw_crop


def test_the_same_crops_as_torchvisions():
    peer, seen = v2.RandomIoUCrop(), 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        height, width = (int(side) for side in rng.integers(20, 700, 2))
        corners = np.sort(rng.uniform(0, 1, (int(rng.integers(1, 9)), 2, 2)), 1) * [width, height]
        boxes = corners.reshape(-1, 4)
        tensor = BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=(height, width))
        torch.manual_seed(seed)
        expected = peer.make_params([tensor])
        after = torch.rand(1)
        torch.manual_seed(seed)
        found = draw_crop(height, width, boxes)
        assert torch.equal(torch.rand(1), after)  # as many numbers were drawn
        if found is None:
            assert expected == {}
            continue
        seen += 1
        assert (found.x0, found.y0, found.w, found.h) == tuple(expected[k] for k in ("left", "top", "width", "height"))
        assert (found.orig_w, found.orig_h) == (width, height)
        assert found.inside.tolist() == expected["is_within_crop_area"].tolist()
    assert seen > 50


def test_an_image_too_low_for_a_crop_stays():
    assert draw_crop(2, 100, np.array([[0.0, 0, 50, 2]])) is None
