"""Boxes on images: those of the file of proposals and of the detector, as many as asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from repro.errors import FigureError
from repro.figures import boxes
from repro.figures._images import SIDES, choose, objects


def of(rows: list[dict[str, Any]], row: str, image_id: int) -> np.ndarray:
    own = [one for one in rows if (one["row"], one["image_id"]) == (row, image_id)]
    assert [one["rank"] for one in own] == list(range(1, len(own) + 1))
    return np.array([[one[side] for side in SIDES] for one in own])


def test_proposals_are_the_first_of_the_file(lab: Any) -> None:
    name = "toy/figure7"
    data = lab.drawing(name).gather(lab.sources(name))
    (source,) = lab.sources(name)
    ids = [int(key.partition(".")[2]) for key in data.arrays]
    assert len(ids) == 3
    for image_id in ids:
        found = source.proposals().boxes(image_id)[:30]
        assert of(data.rows, "ours", image_id) == pytest.approx(found)
        assert data.arrays[f"image.{image_id}"].shape[:2] == source.proposals().size(image_id)


def test_as_many_detections_as_objects_beside_the_objects(lab: Any) -> None:
    name = "toy/figure8"
    data = lab.drawing(name).gather(lab.sources(name))
    (source,) = lab.sources(name)
    model, images = source.model(), {image["image_id"]: image for image in source.images()}
    ids = {row["image_id"] for row in data.rows}
    assert len(ids) == 2
    for image_id in ids:
        truth = objects(images[image_id])
        assert of(data.rows, "truth", image_id) == pytest.approx(truth)
        found = model([source.sample(images[image_id])])[0]["instances"].pred_boxes.tensor.numpy()
        once = found[np.sort(np.unique(found, axis=0, return_index=True)[1])]  # a query may answer with several classes
        assert of(data.rows, "ours", image_id) == pytest.approx(once[: len(truth)], abs=1e-2)


def test_rows_must_be_of_the_same_images(lab: Any) -> None:
    mixed = [*lab.sources("toy/figure7"), *lab.sources("toy/figure8")]
    with pytest.raises(FigureError, match="the rows have shapes_smoke_train, shapes_smoke_val"):
        boxes.Drawing().gather(mixed)


def test_images_without_any_box_are_no_figure(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "finder", lambda source: lambda image: np.zeros((0, 4)))
    with pytest.raises(FigureError, match=r"no row has a box in the images \d+, "):
        lab.drawing("toy/figure7").gather(lab.sources("toy/figure7"))


def test_images_are_drawn_by_seed_or_named() -> None:
    images = [{"image_id": number, "annotations": []} for number in range(50)]
    first, again = (choose(images, 5, 0) for _ in range(2))
    assert first == again != choose(images, 5, 1)
    assert [one["image_id"] for one in choose(images, 5, 0, ids=(7, 3))] == [7, 3]
    with pytest.raises(FigureError, match="image_ids 99 are not in the data set"):
        choose(images, 5, 0, ids=(99,))
