"""UP-DETR's patches: their sizes and places, and that boxes and crops belong together."""

from __future__ import annotations

import numpy as np
import torch

from repro.data.augmentations.crops import CropViews
from repro.data.augmentations.detr import DetrAugmentation, ResizeShortEdge
from repro.data.mapper import ImageReader
from repro.data.random_patches import RandomPatchMapper, random_patches

PLAIN = CropViews(12, jitter_probability=0, grey_probability=0, blur_probability=0)


def test_sides_are_uniform_and_patches_lie_anywhere_inside():
    boxes = random_patches(40, 100, 20_000, smallest=8, rng=np.random.default_rng(0))
    sizes = boxes[:, 2:] - boxes[:, :2]
    assert sizes.min(0).tolist() == [8, 8] and sizes.max(0).tolist() == [92, 32]
    assert boxes[:, :2].min() == 0 and boxes.max(0)[2:].tolist() == [100, 40]
    heights = np.bincount(sizes[:, 1].astype(int), minlength=33)[8:]
    assert heights.min() > 0.8 * heights.mean() and heights.max() < 1.2 * heights.mean()
    centres = (boxes[:, :2] + boxes[:, 2:]).mean(0) / 2
    np.testing.assert_allclose(centres, [50, 20], atol=0.5)
    np.testing.assert_allclose(np.corrcoef(sizes.T)[0, 1], 0, atol=0.03)


def test_a_sample_holds_ten_patches_and_their_crops(smoke):
    record = smoke[0]
    mapper = RandomPatchMapper(ResizeShortEdge(96, 128), PLAIN)
    found = mapper(record, np.random.default_rng(3))
    boxes = random_patches(record["height"], record["width"], 10, 8, np.random.default_rng(3))
    scale = found["image"].shape[2] / record["width"], found["image"].shape[1] / record["height"]
    np.testing.assert_allclose(found["instances"].gt_boxes.tensor, boxes * np.tile(scale, 2), rtol=1e-5)
    assert found["instances"].gt_classes.tolist() == [0] * 10
    assert torch.equal(found["crops"], PLAIN(ImageReader()(record), boxes, np.random.default_rng(0)))


def test_boxes_and_crops_are_filtered_together(smoke):
    augmentation = DetrAugmentation([48, 64], 96, [64, 80], (16, 24), crop=1.0)
    mapper = RandomPatchMapper(augmentation, CropViews(12))
    counts = []
    for seed in range(20):
        found = mapper(smoke[seed % 16], np.random.default_rng(seed))
        assert len(found["crops"]) == len(found["instances"])
        counts.append(len(found["crops"]))
    assert min(counts) < 10


def test_small_images_are_refused(smoke):
    mapper = RandomPatchMapper(ResizeShortEdge(96, 128), PLAIN)
    assert mapper({**smoke[0], "height": 16}, np.random.default_rng(0)) is None
