"""Against Detectron2's evaluator on the same annotations as XML, and against curves worked by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation.pascal_voc_evaluation import PascalVOCDetectionEvaluator
from detectron2.structures import Boxes, Instances

from repro.data import records, voc_layout
from repro.evaluation import voc

CLASSES = ("bird", "cat", "dog")
OBJECT = (
    "<object><name>{}</name><pose>Left</pose><truncated>0</truncated><difficult>{}</difficult><bndbox>"
    "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def write_folder(folder: Path, rng: np.random.Generator, images: int = 25) -> None:
    """VOC layout with overlapping objects, a quarter of them difficult. No image file is read."""
    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / part).mkdir(parents=True)
    for number in range(images):
        objects = ""
        for _ in range(rng.integers(0, 6)):
            x, y = rng.integers(1, 200, 2)
            w, h = rng.integers(5, 100, 2)
            objects += OBJECT.format(rng.choice(CLASSES), int(rng.random() < 0.25), x, y, x + w, y + h)
        size = "<size><width>400</width><height>400</height></size>"
        (folder / "Annotations" / f"{number:03d}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (folder / "ImageSets" / "Main" / "test.txt").write_text("\n".join(f"{number:03d}" for number in range(images)))


def instances(rng: np.random.Generator, objects: list[dict], scores: list[float]) -> Instances:
    """Jittered objects, some of them twice or of a wrong class, and noise."""
    boxes, classes = [], []
    for entry in objects:
        for _ in range(rng.integers(0, 4)):
            boxes.append(np.array(entry["bbox"]) + rng.normal(0, 4, 4))
            classes.append(entry["category_id"] if rng.random() < 0.8 else int(rng.integers(3)))
    for _ in range(3):
        x, y = rng.uniform(0, 200, 2)
        boxes.append(np.array([x, y, x + 40, y + 50]))
        classes.append(int(rng.integers(3)))
    result = Instances((400, 400))
    result.pred_boxes = Boxes(torch.tensor(np.array(boxes)))
    result.scores = torch.tensor([scores.pop() for _ in boxes])
    result.pred_classes = torch.tensor(classes)
    return result


@pytest.mark.parametrize("seed", [0, 1])
def test_numbers_are_those_of_detectron2(tmp_path, seed, request):
    rng = np.random.default_rng(seed)
    folder = tmp_path / "VOC2007"
    write_folder(folder, rng)
    source = voc_layout.read_voc(folder, "test", CLASSES)
    found = records.read(source, CLASSES, files=False)
    assert not found.faults
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps(records.to_coco(found.records, records.numbered(CLASSES), source.images)))
    scores = (rng.permutation(998) / 1000 + 0.0011).tolist()  # all different after rounding: nothing orders ties
    inputs = [
        {"image_id": record["image_id"], "instances": instances(rng, record["annotations"], scores)}
        for record in found.records
    ]
    ours = voc.Evaluator(truth, [1, 2, 3])
    ours.process(inputs, inputs)
    numbers = ours.evaluate()["voc"]
    for year, way in ((2007, ""), (2012, "_area")):
        name = f"{request.node.name}-{year}"
        MetadataCatalog.get(name).set(dirname=str(folder), split="test", year=year, thing_classes=list(CLASSES))
        theirs = PascalVOCDetectionEvaluator(name)
        theirs.reset()
        stems = [f"{record['image_id'] - 1:03d}" for record in found.records]
        theirs.process([{"image_id": stem} for stem in stems], inputs)
        expected = theirs.evaluate()["bbox"]
        for key in ("AP", "AP50", "AP75"):
            assert numbers[f"{key}{way}"] == pytest.approx(expected[key], abs=1e-9)
    assert 5 < numbers["AP75"] < numbers["AP50"] < 95


def truth_of(objects: list[tuple[int, list[float], int]], tmp_path: Path) -> Path:
    """One category, one image a first element; third element: difficult."""
    content = {
        "images": [{"id": image} for image in sorted({image for image, _, _ in objects})],
        "annotations": [
            {"id": number, "image_id": image, "category_id": 1, "bbox": box, **({"ignore": 1} if difficult else {})}
            for number, (image, box, difficult) in enumerate(objects, start=1)
        ],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "never shown"}],
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    return path


def detection(image: int, box: list[float], score: float) -> dict:
    return {"image_id": image, "category_id": 1, "bbox": box, "score": score}


def test_curves_worked_by_hand(tmp_path):
    """Right, wrong, right of four objects: precision 1, 1/2, 2/3 at recall 1/4, 1/4, 1/2."""
    box = [10, 10, 10, 10]
    path = truth_of([(image, box, 0) for image in range(4)], tmp_path)
    detections = [detection(0, box, 0.9), detection(1, [50, 50, 10, 10], 0.8), detection(2, box, 0.7)]
    found = voc.score(path, detections)
    assert found["AP50"] == found["AP75"] == pytest.approx(100 * (3 * 1 + 3 * 2 / 3) / 11)  # 0, .1, .2 and .3, .4, .5
    assert found["AP50_area"] == pytest.approx(100 * (0.25 * 1 + 0.25 * 2 / 3))


def test_the_nearest_object_is_claimed_once_and_a_difficult_one_counts_neither_way(tmp_path):
    easy, hard = [0, 0, 10, 10], [40, 40, 10, 10]
    path = truth_of([(1, easy, 0), (1, hard, 1)], tmp_path)
    once = [detection(1, easy, 0.9)]
    assert voc.score(path, once)["AP"] == pytest.approx(100)
    assert voc.score(path, [detection(1, hard, 0.95), detection(1, hard, 0.94), *once])["AP"] == pytest.approx(100)
    twice = voc.score(path, [*once, detection(1, easy, 0.95)])
    assert twice["AP"] == pytest.approx(100)  # the second is false, but comes after full recall
    assert voc.score(path, [detection(1, [90, 90, 5, 5], 0.95), *once])["AP"] == pytest.approx(50)


def test_a_detection_never_falls_back_on_the_second_nearest(tmp_path):
    """COCO would give the second detection the second object."""
    path = truth_of([(1, [0, 0, 10, 10], 0), (1, [0, 0, 10, 12], 0)], tmp_path)
    found = voc.score(path, [detection(1, [0, 0, 10, 10], 0.9), detection(1, [0, 0, 10, 10.5], 0.8)])
    assert found["AP50_area"] == pytest.approx(50)


def test_overlap_must_exceed_the_threshold(tmp_path):
    path = truth_of([(1, [0, 0, 10, 10], 0)], tmp_path)
    assert voc.score(path, [detection(1, [0, 0, 10, 5], 0.9)])["AP50"] == 0  # an overlap of exactly 0.5
    assert voc.score(path, [detection(1, [0, 0, 10, 5.1], 0.9)])["AP50"] == pytest.approx(100)


def test_without_objects_or_detections(tmp_path):
    path = truth_of([(1, [0, 0, 10, 10], 0)], tmp_path)
    assert voc.score(path, [])["AP"] == 0
    only_difficult = truth_of([(1, [0, 0, 10, 10], 1)], tmp_path)
    assert math.isnan(voc.score(only_difficult, [detection(1, [0, 0, 9, 9], 0.5)])["AP"])
