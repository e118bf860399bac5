"""Precision and recall at K: against a plain loop, and recall against the COCO evaluator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repro.evaluation import coco_box
from repro.figures._images import objects
from repro.figures.proposals_at_k import matches


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 60, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(8, 40, (count, 2))], axis=1)


def overlap(a: np.ndarray, b: np.ndarray, crowd: bool = False) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    area = [float(np.prod(one[2:] - one[:2])) for one in (a, b)]
    return shared / (area[0] if crowd else area[0] + area[1] - shared)


def by_hand(found: np.ndarray, truth: np.ndarray, crowds: np.ndarray, iou: float) -> tuple[list[bool], list[bool]]:
    """The protocol as it reads: one proposal after another, each with every object."""
    taken: set[int] = set()
    right, on_crowd = [], []
    for box in found:
        free = [(overlap(box, one), -place) for place, one in enumerate(truth) if place not in taken]
        best = max(free, default=(0.0, 0))
        right.append(best[0] >= iou)
        if right[-1]:
            taken.add(-best[1])
        on_crowd.append(not right[-1] and any(overlap(box, one, crowd=True) >= iou for one in crowds))
    return right, on_crowd


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("iou", [0.3, 0.5, 0.7])
def test_matches_are_those_of_a_plain_loop(seed: int, iou: float) -> None:
    rng = np.random.default_rng(seed)
    found, crowds = boxes(rng, 60), boxes(rng, seed % 3)
    truth = found[20:25] + rng.uniform(-2, 2, (5, 4))
    right, on_crowd = matches(found, truth, crowds, iou)
    wanted = by_hand(found, truth, crowds, iou)
    assert (right.tolist(), on_crowd.tolist()) == wanted
    assert 0 < sum(wanted[0]) <= 5


def test_an_object_is_found_once_and_by_the_first_that_finds_it() -> None:
    truth = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    found = np.array([[50.0, 50, 60, 60], [0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 30, 30]])
    assert matches(found, truth, np.zeros((0, 4)), 0.5)[0].tolist() == [False, True, False, True]


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_to_find_and_nothing_found(count: int) -> None:
    none = np.zeros((0, 4))
    some = boxes(np.random.default_rng(0), count)
    assert not matches(some, none, none, 0.5)[0].any()
    assert len(matches(none, some, none, 0.5)[0]) == 0


def test_recall_is_that_of_the_coco_evaluator_with_classes_off(lab: Any, tmp_path: Path) -> None:
    name = "toy/figure5"
    rows = lab.drawing(name).gather(lab.sources(name)).rows
    (source,) = lab.sources(name)
    proposals, detections, images = source.proposals(), [], source.images()
    for image in images:
        for rank, (left, top, right, bottom) in enumerate(proposals.boxes(image["image_id"]).tolist()):
            box = [left, top, right - left, bottom - top]
            detections.append({"image_id": image["image_id"], "category_id": 1, "bbox": box, "score": 1 / (rank + 1)})
    truth = coco_box_file(images, tmp_path / "truth.json")
    engine = coco_box.installed()[0]
    _, recall = coco_box.arrays(truth, detections, [1, 10, 30, 100], class_agnostic=True, engine=engine)
    assert [row["k"] for row in rows] == [1, 10, 30, 100]
    assert [row["recall"] for row in rows] == pytest.approx(list(100 * recall[0, 0, 0, :]))


def coco_box_file(images: list[dict[str, Any]], path: Path) -> Path:
    annotations = []
    for image in images:
        for entry in image["annotations"]:
            left, top, right, bottom = entry["bbox"]
            about = {"id": len(annotations) + 1, "image_id": image["image_id"], "category_id": 1}
            box = {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
            annotations.append(about | box | {"iscrowd": entry["iscrowd"]})
    about = [{"id": image["image_id"], "height": image["height"], "width": image["width"]} for image in images]
    path.write_text(json.dumps({"images": about, "annotations": annotations, "categories": [{"id": 1, "name": "any"}]}))
    return path


def test_counts_add_up_over_the_images(lab: Any) -> None:
    name = "toy/figure5"
    rows = lab.drawing(name).gather(lab.sources(name)).rows
    (source,) = lab.sources(name)
    images = source.images()
    assert {row["objects"] for row in rows} == {sum(len(objects(image)) for image in images)}
    for row in rows:
        kept = [source.proposals().boxes(image["image_id"])[: row["k"]] for image in images]
        assert row["kept"] == sum(map(len, kept))
        hits = [
            by_hand(some, objects(image), objects(image, crowd=True), 0.5)
            for some, image in zip(kept, images, strict=True)
        ]
        assert row["right"] == sum(sum(one[0]) for one in hits)
        assert row["precision"] == pytest.approx(100 * row["right"] / (row["kept"] - sum(sum(one[1]) for one in hits)))
