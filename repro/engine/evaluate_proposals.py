"""Score raw region proposals as if a detector had found them: an ``evaluate`` stage whose parent is ``propose``.

The published code (DETReg, Table 7) gives every proposal the score 1, so that their order decides within an image and
the order of the images across them: evaluators sort by score, and keep equals as they came. Of an image only as many as
the evaluators look at are handed over. No image is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

from repro.data.proposals import Proposals
from repro.errors import DataError, did_you_mean

SCORES = {
    "equal": np.ones_like,
    "rank": lambda ranks: 1 / ranks,
}
"""How proposals are scored, from their ranks 1, 2, …: all alike as in the published code, or the better the earlier."""


def detections(
    proposals: Proposals, record: Mapping[str, Any], max_boxes: int, scores: str = "equal"
) -> dict[str, Instances]:
    """What a detector would answer for an image: its first proposals, as class 0.

    Args:
        proposals: Of the data set.
        record: Dataset dictionary of the image.
        max_boxes: How many.
        scores: One of `SCORES`.

    Raises:
        DataError: There are no proposals for the image, or they were made for one of another size.
    """
    if scores not in SCORES:
        raise DataError(f"proposals have no scores {scores!r}. {did_you_mean(scores, SCORES)}")
    size = (record["height"], record["width"])
    if proposals.size(record["image_id"]) != size:
        found = proposals.size(record["image_id"])
        raise DataError(
            f"image {record['image_id']} is {size[1]}×{size[0]}; {proposals.path} was made for {found[1]}×{found[0]}"
        )
    boxes = torch.from_numpy(proposals.boxes(record["image_id"])[:max_boxes])
    instances = Instances(size)
    instances.pred_boxes = Boxes(boxes)
    instances.scores = torch.from_numpy(SCORES[scores](np.arange(1, len(boxes) + 1, dtype=np.float64)))
    instances.pred_classes = torch.zeros(len(boxes), dtype=torch.int64)
    return {"instances": instances}


def feed(
    proposals: Proposals, records: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], evaluator: Any
) -> dict[str, dict[str, float]]:
    """Hand this process's share of the images to an evaluator, and return what it makes of them.

    Args:
        proposals: Of the data set.
        records: All images.
        settings: The recipe's section ``proposals``: ``max_boxes`` and ``scores``.
        evaluator: Detectron2's `DatasetEvaluator`.
    """
    rank, world = comm.get_rank(), comm.get_world_size()
    evaluator.reset()
    for record in records[rank * len(records) // world : (rank + 1) * len(records) // world]:
        evaluator.process([record], [detections(proposals, record, **settings)])
    found: dict[str, dict[str, float]] = evaluator.evaluate()
    return found
