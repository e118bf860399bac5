"""Detections of every detector in an image file, as they are written down."""

import importlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from torch import nn

import repro.meta_arch
from repro.engine import config, predict
from repro.errors import DataError

DETECTORS = sorted(path.stem for path in Path(repro.meta_arch.__file__).parent.glob("*.py") if path.stem != "__init__")
HEIGHT, WIDTH = 60, 90


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    return path


def mapper():
    return config.resolve("rtdetr/evaluate_coco_val2017.py", {}, "tiny").recipe["data"]["mapper"]


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_finds_boxes_within_the_file(name, image):
    torch.manual_seed(0)
    model = importlib.import_module(f"repro.meta_arch.{name}").example().eval()
    (found,) = predict.detect(model, predict.records([image]), mapper(), 0.0)
    boxes = found.boxes_xyxy_abs
    assert boxes.shape == (len(found.scores), 4) and len(found.classes) == len(boxes)
    assert (boxes >= 0).all() and (boxes <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()
    classes = predict.classes_of(None, model)
    assert all(0 <= number < len(classes.names) for number in found.classes)
    assert len(predict.results(found, classes)) == len(boxes)


class Fixed(nn.Module):
    """Answers as told, and remembers what it was asked."""

    num_classes = 2

    def forward(self, inputs):
        self.asked = inputs
        found = Instances((inputs[0]["height"], inputs[0]["width"]))
        found.pred_boxes = Boxes(torch.tensor([[10.0, 20.0, 40.0, 60.0], [-5.0, 0.0, 100.0, 30.0]]))
        found.scores, found.pred_classes = torch.tensor([0.75, 0.25]), torch.tensor([1, 0])
        return [{"instances": found}]


def test_results_are_written_as_coco_has_them(image):
    model = Fixed()
    classes = predict.Classes(("cat", "dog"), (17, 18))
    (found,) = predict.detect(model, predict.records([image]), mapper(), 0.2)
    assert model.asked[0]["image"].shape == (3, 64, 64)
    first, second = predict.results(found, classes)
    assert first == {
        "image_id": 1,
        "category_id": 18,
        "bbox": [10.0, 20.0, 30.0, 40.0],
        "score": 0.75,
        "file_name": str(image),
        "category_name": "dog",
    }
    assert second["bbox"] == [0.0, 0.0, 90.0, 30.0]  # what lies outside is cut off
    assert predict.image_info([found.record], classes) == {
        "images": [{"id": 1, "file_name": str(image), "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
    }


def test_classes_are_those_of_a_data_set_that_has_as_many():
    assert predict.classes_of("coco_2017_val", Fixed()).names == ("class 0", "class 1")
    model = Fixed()
    model.num_classes = 80
    found = predict.classes_of("coco_2017_val", model)
    assert (found.names[0], found.ids[0], found.ids[-1]) == ("person", 1, 90)
    assert predict.classes_of("coco_2071_val", model).ids == tuple(range(1, 81))


def test_what_is_no_image_is_named(image, tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 faults:(.|\n)*b.jpg: empty file(.|\n)*c.jpg: missing image"):
        predict.records([image, tmp_path / "b.jpg", tmp_path / "c.jpg"])
