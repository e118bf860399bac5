"""Slots: one point an image and query, where the detector itself puts the box."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from repro.errors import FigureError
from repro.figures import slots


@pytest.mark.parametrize(
    ("width", "height", "wanted"),
    [
        (0.2, 0.2, "square or small"),  # 4 % of the image
        (0.6, 0.5, "square or small"),  # large, and not 1.5 times as wide as high
        (0.6, 0.3, "large, wide"),
        (0.3, 0.6, "large, tall"),
        (0.3, 0.1, "square or small"),  # wide, and 3 % of the image
    ],
)
def test_shapes(width: float, height: float, wanted: str) -> None:
    assert slots.shape(width, height, ratio=1.5, large=0.1) == wanted


def test_every_row_image_and_query_is_a_point_where_the_detector_puts_it(lab: Any) -> None:
    name = "toy/figure6"
    rows = lab.drawing(name).gather(lab.sources(name)).rows
    for source in lab.sources(name):
        own = [row for row in rows if row["row"] == source.row.id]
        images = source.images()
        assert Counter(row["image_id"] for row in own) == {image["image_id"]: 5 for image in images}
        assert len({row["slot"] for row in own}) == 5
        model = source.model()
        detector = getattr(model, "detector", model)
        detector.test_topk = 10**6  # all queries and classes
        for image in images[:2]:
            found = model([source.sample(image)])[0]["instances"]
            size = torch.tensor([image["width"], image["height"]] * 2)
            centres = (found.pred_boxes.tensor / size).unflatten(1, (2, 2)).mean(1)
            for row in (row for row in own if row["image_id"] == image["image_id"]):
                nearest = (centres - torch.tensor([row["cx"], row["cy"]])).norm(dim=1).min()
                assert float(nearest) < 1e-4


def test_queries_and_images_can_be_named(lab: Any) -> None:
    sources = lab.sources("toy/figure6")[:1]
    rows = slots.Drawing(queries=(3, 1), images=4).gather(sources).rows
    assert len(rows) == 2 * 4
    assert {row["slot"] for row in rows} == {1, 3}
    with pytest.raises(FigureError, match=r"queries \[99\] are named; the detector has 30"):
        slots.Drawing(queries=(99,), images=1).gather(sources)
