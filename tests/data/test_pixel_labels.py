"""Masks and semantic maps: they lie on the pixels they describe, whatever happens to the image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from repro.data.augmentations.detr import DetrAugmentation, ResizeShortEdge
from repro.data.augmentations.rtdetr import RTDETRAugmentation
from repro.data.mapper import TrainMapper
from repro.data.pixel_labels import PixelLabels, SemanticMaps, rasterise
from repro.data.shape_images import run_lengths
from repro.errors import DataError

VIEW = DetrAugmentation([60, 80, 100], 120, [70, 90], (40, 80))
HEIGHT, WIDTH = 80, 120


def drawn(*polygons):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(mask, [np.array(polygon).reshape(-1, 2) for polygon in polygons], 1)
    return mask


ELL = [30, 20, 70, 20, 70, 30, 40, 30, 40, 60, 30, 60]
RING = drawn([80, 10, 110, 10, 110, 40, 80, 40]) - drawn([90, 20, 100, 20, 100, 30, 90, 30])


@pytest.fixture
def record(tmp_path):
    """An L in red and a frame in blue, with the very pixels of both in run lengths."""
    ell = drawn(ELL)
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[ell > 0], pixels[RING > 0] = (255, 0, 0), (0, 0, 255)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    entries = [
        {"bbox": [30.0, 20, 71, 61], "category_id": 5, "segmentation": run_lengths(ell > 0)},
        {"bbox": [80.0, 10, 111, 41], "category_id": 2, "segmentation": run_lengths(RING > 0)},
    ]
    about = {"file_name": str(tmp_path / "a.png"), "image_id": 9, "height": HEIGHT, "width": WIDTH}
    return {**about, "annotations": [{"bbox_mode": 0, "iscrowd": 0, **entry} for entry in entries]}


def agrees(mask, pixels):
    """Equal but for two pixels along the outline."""
    mask, pixels = mask.numpy().astype(np.uint8), pixels.numpy().astype(np.uint8)
    kernel = np.ones((5, 5), np.uint8)  # an image may be resized twice
    inner, outer = cv2.erode(pixels, kernel, borderValue=1), cv2.dilate(pixels, kernel)
    return bool((inner <= mask).all() and (mask <= outer).all())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "augmentation", [VIEW, RTDETRAugmentation((64, 64), photometric=0.0)], ids=["resize-crop-flip", "zoom-crop-stretch"]
)
def test_masks_follow_the_pixels(record, augmentation, seed):
    labels = PixelLabels(semantic=SemanticMaps())
    found = TrainMapper(augmentation, pixels=labels)(record, np.random.default_rng(seed))
    objects = found["instances"]
    assert objects.gt_masks.tensor.shape == (len(objects), *found["image"].shape[1:])
    for mask, label in zip(objects.gt_masks.tensor, objects.gt_classes.tolist(), strict=True):
        pixels = found["image"][0 if label == 5 else 2] > 127
        assert agrees(mask, pixels)
        assert agrees(found["sem_seg"] == label, pixels)
    assert found["sem_seg"].dtype == torch.int64 and set(found["sem_seg"].unique().tolist()) <= {2, 5, 255}


def test_all_forms_of_segmentation(record):
    """Polygons leave out a part of the pixels that they go through."""
    coded = coco_mask.encode(np.asfortranarray(RING))
    forms = [[ELL], [ELL[:8] + ELL[:2], [*ELL[6:], 30, 30]], run_lengths(RING > 0), coded]
    masks = rasterise(record, [{"segmentation": form} for form in forms])
    ell = drawn(ELL)
    assert (masks[0] <= ell).all() and (masks[0] >= cv2.erode(ell, np.ones((3, 3), np.uint8))).all()
    assert 0.9 < (masks[1] & ell).sum() / masks[0].sum() <= 1.1  # in two parts
    assert (masks[2] == RING).all() and (masks[3] == RING).all()


def test_the_wrong_flip_would_be_noticed(record):
    found = TrainMapper(ResizeShortEdge(80, 200), pixels=PixelLabels())(record, np.random.default_rng(0))
    mask = found["instances"].gt_masks.tensor[0]
    assert agrees(mask, found["image"][0] > 127) and not agrees(mask.flip(1), found["image"][0] > 127)


def test_without_them_a_sample_is_what_it_was(record):
    plain = TrainMapper(VIEW)(record, np.random.default_rng(3))
    more = TrainMapper(VIEW, pixels=PixelLabels(semantic=SemanticMaps()))(record, np.random.default_rng(3))
    assert not plain["instances"].has("gt_masks") and "sem_seg" not in plain
    assert torch.equal(plain["image"], more["image"])
    assert torch.equal(plain["instances"].gt_boxes.tensor, more["instances"].gt_boxes.tensor)


def test_colours_do_not_change_labels(record):
    strong = RTDETRAugmentation((80, 120), photometric=1.0, zoom_out=0.0, iou_crop=0.0, flip=0.0)
    found = TrainMapper(strong, pixels=PixelLabels(semantic=SemanticMaps()))(record, np.random.default_rng(0))
    assert np.array_equal(found["instances"].gt_masks.tensor.numpy(), rasterise(record, record["annotations"]) > 0)


def test_an_image_without_objects(record):
    record["annotations"] = []
    found = TrainMapper(VIEW, pixels=PixelLabels(semantic=SemanticMaps(background=8)))(record, np.random.default_rng(1))
    assert found["instances"].gt_masks.tensor.shape == (0, *found["image"].shape[1:])
    assert (found["sem_seg"] == 8).all()
    assert TrainMapper(VIEW, pixels=PixelLabels())(record, np.random.default_rng(1))["instances"].has("gt_masks")


def test_drawn_maps_show_the_smaller_in_front_and_crowds_too(record):
    small = {**record["annotations"][0], "category_id": 1, "segmentation": [[32, 22, 36, 22, 36, 26, 32, 26]]}
    crowd = {**record["annotations"][0], "category_id": 0, "iscrowd": 1, "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]}
    record["annotations"] = [small, *record["annotations"], crowd]
    drawn_map = SemanticMaps(background=7)(record)
    assert [int(drawn_map[y, x]) for y, x in ((24, 34), (50, 35), (25, 95), (4, 4), (79, 0))] == [1, 5, 7, 0, 7]
    found = TrainMapper(ResizeShortEdge(80, 200), pixels=PixelLabels())(record, np.random.default_rng(0))
    assert found["instances"].gt_classes.tolist() == [1, 5, 2]
    assert len(found["instances"].gt_masks) == 3


def test_maps_from_files(record, tmp_path, monkeypatch):
    stuff = np.full((HEIGHT, WIDTH), 182, np.uint8)
    stuff[:, :60] = 0
    stuff[:40] = 255
    (tmp_path / "stuff").mkdir()
    cv2.imwrite(str(tmp_path / "stuff" / "a.png"), stuff)
    monkeypatch.setenv("STUFF", str(tmp_path))
    labels = PixelLabels(masks=False, semantic=SemanticMaps("$STUFF/stuff"))
    found = TrainMapper(DetrAugmentation([80], 120, crop=0, flip=1), pixels=labels)(record, np.random.default_rng(0))
    assert np.array_equal(found["sem_seg"].numpy(), stuff[:, ::-1])
    assert not found["instances"].has("gt_masks")
    cv2.imwrite(str(tmp_path / "stuff" / "a.png"), stuff[:9])
    with pytest.raises(DataError, match=r"a.png is 120×9, not 120×80"):
        labels.planes(record, [])
    (tmp_path / "stuff" / "a.png").unlink()
    with pytest.raises(DataError, match=r"semantic map: not found"):
        labels.planes(record, [])


def test_boxes_without_masks_are_named(record):
    del record["annotations"][1]["segmentation"]
    with pytest.raises(DataError, match=r"image 9 .* has no segmentation"):
        TrainMapper(VIEW, pixels=PixelLabels())(record, np.random.default_rng(0))
