"""Samples for pretraining: proposals and crops that belong together, chosen as the paper says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.data.transforms import Augmentation

from repro.data.augmentations.crops import CropViews
from repro.data.augmentations.detr import DetrAugmentation, ResizeShortEdge
from repro.data.augmentations.geometry import Crop
from repro.data.loader import train_loader
from repro.data.mapper import ImageReader, clip
from repro.data.pretrain import POLICIES, PretrainMapper
from repro.data.proposals import Proposals
from repro.errors import DataError

from .conftest import propose

PLAIN = CropViews(12, jitter_probability=0, grey_probability=0, blur_probability=0)
VIEW = DetrAugmentation([48, 64], 96, [64, 80], (32, 64))


@pytest.fixture(scope="module")
def boxes(smoke, tmp_path_factory) -> Proposals:
    return Proposals(propose(smoke, tmp_path_factory.mktemp("proposals"), {"size": 64, "mode": "single"}))


def test_a_sample_holds_a_crop_for_each_box(smoke, boxes):
    for seed in range(20):
        found = PretrainMapper(boxes, VIEW, CropViews(12), k=6)(smoke[seed % 16], np.random.default_rng(seed))
        if found is None:
            continue
        count = len(found["instances"])
        assert 2 <= count <= 6
        assert found["crops"].shape == (count, 3, 12, 12) and found["crops"].dtype == torch.uint8
        assert found["instances"].gt_classes.tolist() == [0] * count


class RightHalf(Augmentation):
    """Cuts the left half of an image off."""

    def get_transform(self, image):
        height, width = image.shape[1:]
        return Crop(width // 2, 0, width - width // 2, height, width, height)


def test_boxes_and_crops_are_filtered_together(smoke, boxes):
    dropped = 0
    for record in smoke:
        found = PretrainMapper(boxes, RightHalf(), PLAIN, k=8, redraw=False)(record, np.random.default_rng(0))
        every = boxes.boxes(record["image_id"])[:8]
        kept = every[every[:, 2] > record["width"] // 2]
        if found is None:
            assert len(kept) < 2
            continue
        dropped += len(every) - len(kept)
        right = torch.from_numpy(kept[:, 2]) - record["width"] // 2
        assert torch.allclose(found["instances"].gt_boxes.tensor[:, 2], right)
        assert (found["crops"] == PLAIN(ImageReader()(record), kept, np.random.default_rng(0))).all()
    assert dropped > 3


def test_crops_do_not_see_flip_scale_or_truncation(smoke, boxes):
    flipped = DetrAugmentation([48, 64], 96, [64, 80], (32, 40), crop=1, flip=1)
    mapper = PretrainMapper(boxes, flipped, PLAIN, k=10, redraw=False)
    whole = PretrainMapper(boxes, ResizeShortEdge(64, 96), PLAIN, k=10, redraw=False)
    dropped = 0
    for record in smoke:
        everything = whole(record, np.random.default_rng(0))
        found = mapper(record, np.random.default_rng(1))
        if found is None or everything is None:
            continue
        wanted = [crop.tobytes() for crop in everything["crops"].numpy()]
        kept = [wanted.index(crop.tobytes()) for crop in found["crops"].numpy()]
        assert kept == sorted(kept)
        dropped += len(wanted) - len(kept)
    assert dropped > 0
    image = ImageReader()(smoke[0])
    expected = PLAIN(image, boxes.boxes(smoke[0]["image_id"])[:10], np.random.default_rng(0))
    assert (whole(smoke[0], np.random.default_rng(0))["crops"] == expected).all()


def test_policies_by_hand():
    rng = np.random.default_rng(0)
    assert POLICIES["topk"](5, 3, rng).tolist() == [0, 1, 2]
    assert POLICIES["topk"](2, 3, rng).tolist() == [0, 1]
    draws = np.array([POLICIES["random"](10, 4, rng) for _ in range(500)])
    assert (np.diff(draws) > 0).all()
    assert abs(np.bincount(draws.ravel(), minlength=10) / 500 - 0.4).max() < 0.1


def test_importance_sampling_has_the_published_codes_probabilities():
    rng = np.random.default_rng(0)
    draws = [POLICIES["importance"](300, 30, rng) for _ in range(3000)]
    share = np.bincount(np.concatenate(draws), minlength=300) / 3000
    assert abs(np.mean([len(draw) for draw in draws]) - 30) < 0.5
    for position, published in ((0, 0.571), (29, 0.231), (299, 0.0003)):
        assert abs(share[position] - published) < 0.03


def test_redrawing_shows_other_boxes_in_every_epoch(smoke, boxes):
    for redraw, expected in ((False, 1), (True, 5)):
        mapper = PretrainMapper(boxes, ResizeShortEdge(64, 96), PLAIN, k=4, redraw=redraw)
        seen = {mapper(smoke[1], np.random.default_rng(seed))["crops"].numpy().tobytes() for seed in range(5)}
        assert len(seen) == expected


def test_the_papers_importance_sampling_takes_k_on_average_and_never_the_last():
    rng = np.random.default_rng(0)
    draws = [POLICIES["importance_paper"](200, 20, rng) for _ in range(3000)]
    share = np.bincount(np.concatenate(draws), minlength=200) / 3000
    assert abs(np.mean([len(draw) for draw in draws]) - 20) < 0.3
    weight = -np.log(np.arange(1, 201) / 200)
    assert abs(share - 20 * weight / weight.sum()).max() < 0.05 and share[-1] == 0
    assert POLICIES["importance_paper"](1, 5, rng).tolist() == []


def test_the_published_importance_sampling_never_looks_behind_300_and_scales_with_k():
    rng = np.random.default_rng(0)
    draws = [POLICIES["importance"](900, 30, rng) for _ in range(500)]
    assert max(draw.max() for draw in draws) < 300
    half = [len(POLICIES["importance"](900, 15, rng)) for _ in range(500)]
    assert abs(np.mean(half) - np.mean([len(draw) for draw in draws]) / 2) < 1


class Whole(Augmentation):
    """Changes nothing."""

    def get_transform(self, image):
        height, width = image.shape[1:]
        return Crop(0, 0, width, height, width, height)


def test_shuffled_boxes_are_those_of_another_image_in_its_own_pixels(smoke, boxes):
    mapper = PretrainMapper(boxes, Whole(), PLAIN, k=500, redraw=False, shuffle=True)
    record = smoke[0]
    found = mapper(record, np.random.default_rng(3))["instances"].gt_boxes.tensor.numpy()
    others = [boxes.boxes(other["image_id"]) for other in smoke if other["image_id"] != record["image_id"]]
    matches = [np.array_equal(found, clip(other, record["height"], record["width"])[0]) for other in others]
    assert sum(matches) == 1


def test_shuffled_boxes_outside_a_smaller_image_are_dropped(smoke, boxes):
    mapper = PretrainMapper(boxes, ResizeShortEdge(24, 128), PLAIN, k=500, redraw=False, shuffle=True)
    small = {**smoke[0], "height": 24, "width": 32}
    mapper.reader = lambda record: torch.zeros(3, 24, 32, dtype=torch.uint8)
    found = mapper(small, np.random.default_rng(3))
    assert len(found["instances"]) == len(found["crops"]) < len(boxes.boxes(1)) + 60
    assert (found["instances"].gt_boxes.tensor[:, 2:] <= torch.tensor([32, 24])).all()


def test_shuffled_boxes_may_be_scaled_to_this_image(smoke, boxes):
    mapper = PretrainMapper(boxes, ResizeShortEdge(64, 96), PLAIN, k=500, redraw=False, shuffle="relative")
    record = smoke[0]
    own = len(boxes.boxes(record["image_id"]))
    counts = {len(mapper(record, np.random.default_rng(seed))["instances"]) for seed in range(12)}
    assert counts - {own}
    found = mapper(record, np.random.default_rng(3))["instances"]
    height, width = found.image_size
    assert (found.gt_boxes.tensor[:, 2] <= width).all() and (found.gt_boxes.tensor[:, 3] <= height).all()
    assert (found.gt_boxes.tensor[:, 2:].max(0).values == torch.tensor([width, height])).all()
    with pytest.raises(DataError, match="shuffle is true, false"):
        PretrainMapper(boxes, VIEW, PLAIN, shuffle="absolute")


def test_images_with_fewer_than_two_boxes_are_replaced(smoke, boxes):
    mapper = PretrainMapper(boxes, VIEW, PLAIN, k=1)
    assert mapper(smoke[0], np.random.default_rng(0)) is None
    with pytest.raises(DataError, match="PretrainMapper"):
        next(train_loader(smoke, mapper, total_batch_size=2, seed=0))


@pytest.mark.parametrize("workers", [2])
def test_workers_change_nothing(smoke, boxes, workers):
    def first(workers: int) -> list:
        mapper = PretrainMapper(boxes, VIEW, CropViews(12), k=5)
        loader = train_loader(smoke, mapper, total_batch_size=8, seed=1, workers=workers)
        return [(x["image_id"], x["image"].tolist(), x["crops"].tolist()) for _ in range(3) for x in next(loader)]

    assert first(workers) == first(0)


def test_a_wrong_policy_is_named(boxes):
    with pytest.raises(DataError, match="Did you mean topk"):
        PretrainMapper(boxes, VIEW, PLAIN, policy="top_k")
