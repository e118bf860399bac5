"""Boxes that a detector left: which of them become labels, and of which images."""

from __future__ import annotations

import numpy as np
import pytest
from detectron2.structures import BoxMode

from repro.data.pseudo_labels import Above, AboveOrBest, PseudoLabels, labelled
from repro.errors import DataError

# Image id to (score, class) of its boxes; the k-th box of image i is at (i, k), 10 wide and 20 high.
FOUND = {2: [(0.95, 1), (0.9, 0), (0.5, 2)], 5: [(0.6, 3), (0.6, 1), (0.3, 0)], 9: []}
RECORDS = [{"image_id": image_id, "file_name": f"{image_id}.jpg", "annotations": []} for image_id in (9, 5, 2)]


@pytest.fixture
def labels(tmp_path) -> PseudoLabels:
    """The file, joined of two shards: images 2 and 5, and image 9."""
    shards = []
    for number, ids in enumerate(([2, 5], [9])):
        boxes = [[i, k, i + 10, k + 20] for i in ids for k in range(len(FOUND[i]))]
        path = tmp_path / f"{number}.npz"
        np.savez(
            path,
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            scores=np.array([score for i in ids for score, _ in FOUND[i]], np.float32),
            classes=np.array([category for i in ids for _, category in FOUND[i]], np.uint16),
            offsets=np.cumsum([0] + [len(FOUND[i]) for i in ids]),
            image_ids=np.array(ids, np.int64),
        )
        shards.append(path)
    PseudoLabels.join(shards, tmp_path / "all.npz", {"detector": "x"})
    return PseudoLabels(tmp_path / "all.npz")


def test_what_is_read_is_what_was_found(labels):
    labels.verify()
    assert (len(labels), labels.header["images"], labels.header["boxes"], labels.header["detector"]) == (3, 3, 6, "x")
    for image_id, expected in FOUND.items():
        found = labels.of(image_id)
        assert found.scores.tolist() == pytest.approx([score for score, _ in expected])
        assert found.classes.tolist() == [category for _, category in expected]
        assert found.boxes[:, :2].tolist() == [[image_id, k] for k in range(len(expected))]
    assert [labels.above(score) for score in (0.2, 0.5, 0.7)] == [6, 4, 2]


@pytest.mark.parametrize(
    ("choose", "scores", "expected"),
    [
        (Above(0.75), [0.875, 0.75, 0.5], [True, False, False]),  # strictly
        (Above(0.75), [0.5, 0.25], [False, False]),
        (AboveOrBest(0.75), [0.875, 0.75, 0.5], [True, True, False]),
        (AboveOrBest(0.75), [0.5, 0.5, 0.25], [True, True, False]),
        (AboveOrBest(0.75), [0.125], [True]),
    ],
)
def test_a_threshold_chooses(choose, scores, expected):
    assert choose(np.array(scores)).tolist() == expected


def test_chosen_boxes_are_annotations_and_images_without_one_are_left_out(labels):
    (only,) = labelled(RECORDS, labels, Above(0.7))
    assert (only["image_id"], only["file_name"]) == (2, "2.jpg")
    assert only["annotations"] == [
        {"bbox": [2.0, 0.0, 12.0, 20.0], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 1, "iscrowd": 0},
        {"bbox": [2.0, 1.0, 12.0, 21.0], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "iscrowd": 0},
    ]
    kept = labelled(RECORDS, labels, AboveOrBest(0.7))
    assert [(one["image_id"], [box["category_id"] for box in one["annotations"]]) for one in kept] == [
        (5, [3, 1]),
        (2, [1, 0]),
    ]
    assert all(record["annotations"] == [] for record in RECORDS)  # which other stages may share


def test_a_choice_that_leaves_nothing_and_an_unknown_image_are_named(labels, tmp_path):
    with pytest.raises(DataError, match=r"all\.npz: no box of 2 images becomes a label: the best box scores 0\.600"):
        labelled(RECORDS[:2], labels, Above(0.7))
    with pytest.raises(DataError, match="no box of 1 images becomes a label: it has no box at all"):
        labelled(RECORDS[:1], labels, Above(0.0))
    with pytest.raises(DataError, match="no pseudo labels for image 4; was it made for this data set"):
        labelled([{"image_id": 4}], labels, Above(0.0))
    with pytest.raises(DataError, match="holds no pseudo labels"):
        PseudoLabels(tmp_path / "none.npz")


def test_shards_that_change_while_they_are_joined_are_noticed(labels, tmp_path):
    """Another version of one, with a box less, after the first array was read."""
    shards = [tmp_path / "0.npz", tmp_path / "1.npz"]
    content = dict(np.load(shards[0]))
    np.savez(shards[0], **{**content, "boxes": content["boxes"][:-1]})
    with pytest.raises(DataError, match=r"shards changed while they were put together; run its label stage again"):
        PseudoLabels.join(shards, tmp_path / "again.npz", {})
    assert not (tmp_path / "again.npz").exists()
