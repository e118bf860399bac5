"""Samples: what the detector's contract asks for, boxes that follow the pixels, targets that are cleaned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from repro.data.augmentations.detr import DetrAugmentation, ResizeShortEdge
from repro.data.mapper import ImageReader, InferenceMapper, TrainMapper, clip
from repro.errors import DataError

VIEW = DetrAugmentation([60, 80, 100], 120, [70, 90], (40, 80))


@pytest.fixture
def record(tmp_path) -> dict:
    """A white rectangle on black, which its box encloses exactly."""
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[20:50, 30:70] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    entry = {"bbox": [30.0, 20.0, 70.0, 50.0], "bbox_mode": 0, "category_id": 5, "iscrowd": 0}
    name = str(tmp_path / "a.png")
    return {"file_name": name, "image_id": 9, "height": 80, "width": 120, "annotations": [entry]}


def test_a_sample_is_what_detectors_ask_for(record):
    found = TrainMapper(VIEW)(record, np.random.default_rng(0))
    assert found["image"].dtype == torch.uint8 and found["image"].shape[0] == 3
    assert found["image"].permute(1, 2, 0).is_contiguous()  # channels last in memory, and no window of something larger
    assert (found["height"], found["width"], found["image_id"]) == (80, 120, 9)
    assert found["instances"].image_size == tuple(found["image"].shape[1:])
    assert found["instances"].gt_classes.tolist() == [5]
    assert found["instances"].gt_boxes.tensor.dtype == torch.float32


def test_a_sample_shares_no_memory_with_a_cached_image(record):
    mapper = TrainMapper(ResizeShortEdge(80, 120), cache_images=True)  # the size that it has: nothing is done
    found = mapper(record, np.random.default_rng(0))["image"]
    cached = mapper.reader(record)
    assert torch.equal(found, cached) and found.data_ptr() != cached.data_ptr()


@pytest.mark.parametrize("seed", range(25))
def test_boxes_follow_the_pixels(record, seed):
    found = TrainMapper(VIEW)(record, np.random.default_rng(seed))
    bright = found["image"][0] > 127
    if not len(found["instances"]):
        assert not bright.any()
        return
    rows, columns = torch.where(bright.any(1))[0], torch.where(bright.any(0))[0]
    seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    stated = found["instances"].gt_boxes.tensor[0]
    assert (stated - torch.tensor(seen).float()).abs().max() <= 1.1


def test_the_flip_mirrors_pixels_and_boxes(record):
    flip = DetrAugmentation([80], 120, crop=0, flip=1)
    found = TrainMapper(flip)(record, np.random.default_rng(0))
    assert found["instances"].gt_boxes.tensor.tolist() == [[50, 20, 90, 50]]
    assert (found["image"][0, 30] > 127).nonzero().flatten().tolist() == list(range(50, 90))


def test_crowds_and_boxes_outside_the_view_are_no_targets(record):
    record["annotations"].append({**record["annotations"][0], "iscrowd": 1, "category_id": 1})
    whole = TrainMapper(ResizeShortEdge(80, 200))(record, np.random.default_rng(0))
    assert whole["instances"].gt_classes.tolist() == [5]
    boxes, kept = clip(np.array([[-5.0, 2, 5, 30], [20, 2, 30, 8], [3, 3, 3, 9]]), 10, 20)
    assert boxes.tolist() == [[0, 2, 5, 10]] and kept.tolist() == [True, False, False]


def test_an_image_without_objects_is_kept(record):
    record["annotations"] = []
    found = TrainMapper(VIEW)(record, np.random.default_rng(0))
    assert found["instances"].gt_boxes.tensor.shape == (0, 4)


def test_the_record_is_not_changed(record):
    before = repr(record)
    TrainMapper(VIEW)(record, np.random.default_rng(0))
    assert repr(record) == before


def test_inference_resizes_and_nothing_else(record):
    found = InferenceMapper(ResizeShortEdge(40, 60))(record)
    assert found["image"].shape == (3, 40, 60) and "instances" not in found
    assert (found["height"], found["width"]) == (80, 120)


def test_channel_order(record):
    Image.new("RGB", (120, 80), (250, 0, 10)).save(record["file_name"])
    assert ImageReader("RGB")(record)[:, 0, 0].tolist() == [250, 0, 10]
    assert ImageReader("BGR")(record)[:, 0, 0].tolist() == [10, 0, 250]
    with pytest.raises(DataError, match="RGB or BGR"):
        ImageReader("rgb")


def test_files_that_changed_under_the_record_are_named(record):
    with pytest.raises(DataError, match=r"image 9: .*a\.png is 120×80, not 60×80"):
        ImageReader()({**record, "width": 60})
    with pytest.raises(DataError, match=r"image 9: .*none"):
        ImageReader()({**record, "file_name": "none.png"})
