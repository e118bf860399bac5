"""Unlabelled samples: their two views, the way from one to the other, and ground truth out of pseudo boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor

from repro.modeling.pseudo_boxes import PseudoBoxes
from repro.modeling.views import between

Views = list[dict[str, Any]]


def is_unlabelled(sample: dict[str, Any]) -> bool:
    """Whether a sample has views instead of an image with objects."""
    return "weak" in sample


def views(samples: Sequence[dict[str, Any]]) -> tuple[Views, Views]:
    """Weak and strong views of all samples."""
    return [sample["weak"] for sample in samples], [sample["strong"] for sample in samples]


def matrices(source: Views, target: Views) -> list[Tensor]:
    """From each view of ``source`` to the one of ``target``."""
    return [between(a["matrix"], b["matrix"]) for a, b in zip(source, target, strict=True)]


def targets(boxes: Sequence[PseudoBoxes], sizes: Sequence[tuple[int, int]]) -> list[Instances]:
    """Pseudo boxes in the place of ground truth, in images of these sizes (height, width)."""
    return [
        Instances(tuple(size), gt_boxes=Boxes(found.boxes_xyxy_abs), gt_classes=found.labels)
        for found, size in zip(boxes, sizes, strict=True)
    ]


def found(instances: Instances) -> PseudoBoxes:
    """A detector's answer as pseudo boxes."""
    return PseudoBoxes(instances.pred_boxes.tensor, instances.scores, instances.pred_classes)


def log_counts(**sets: Sequence[PseudoBoxes]) -> None:
    """Pseudo boxes an image of each set, to the trainer's log as ``pseudo_boxes/<set>``."""
    for name, boxes in sets.items():
        mean = sum(len(entry.scores) for entry in boxes) / len(boxes)
        get_event_storage().put_scalar(f"pseudo_boxes/{name}", mean)
