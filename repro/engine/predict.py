"""Detections of a detector in image files, in the pixels of each file, and as COCO's two files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from repro.data import datasets
from repro.data.images import probe, read_image
from repro.engine.config import build
from repro.errors import DataError, collect

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Of the files that are taken from a folder."""


class Found(NamedTuple):
    """The detections of one image, best first.

    Attributes:
        record: Its dataset dictionary.
        boxes_xyxy_abs: [N, 4], in pixels of the file.
        scores: [N], in 0…1.
        classes: [N], contiguous.
    """

    record: dict[str, Any]
    boxes_xyxy_abs: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


class Classes(NamedTuple):
    """Names and COCO ids of a detector's classes, by contiguous number."""

    names: tuple[str, ...]
    ids: tuple[int, ...]


def classes_of(dataset: str | None, model: nn.Module) -> Classes:
    """Return the classes that a detector tells apart: those of a data set, if that is here and has as many.

    Else they are numbered.
    """
    try:
        about = datasets.metadata(dataset) if dataset else None
    except DataError:
        about = None
    counts = (getattr(part, "num_classes", None) for part in model.modules())  # of a backbone it is None
    count = next((one for one in counts if one is not None), 0)
    if about is None or len(about["thing_classes"]) != count:
        return Classes(tuple(f"class {number}" for number in range(count)), tuple(range(1, count + 1)))
    return Classes(tuple(about["thing_classes"]), tuple(about["category_ids"]))


def records(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return a dataset dictionary for each file, numbered from 1.

    Raises:
        DataError: a file is no image that can be read; all are named.
    """
    made, faults = [], []
    for number, file in enumerate(files, 1):
        size, fault = probe(file)
        if size is None or fault:
            faults.append(f"{file}: {fault or 'is no image'}")
            continue
        height, width = size
        made.append({"image_id": number, "file_name": str(file), "width": width, "height": height, "annotations": []})
    collect(faults, "images to predict", DataError)
    return made


@torch.no_grad()
def detect(
    model: nn.Module, images: Iterable[dict[str, Any]], mapper: Mapping[str, Any], threshold: float
) -> Iterator[Found]:
    """Yield the detections of each image from a score on, as the detector's evaluation would see them.

    Args:
        model: in evaluation.
        images: dataset dictionaries.
        mapper: recipe of what makes a sample of one.
        threshold: least score.
    """
    prepare = build(mapper)
    for image in images:
        (answer,) = model([prepare(image)])
        found = answer["instances"].to("cpu")
        kept = found[found.scores >= threshold]
        boxes = kept.pred_boxes.tensor.numpy().astype(np.float64)
        limits = np.array([image["width"], image["height"]] * 2, dtype=np.float64)
        yield Found(image, boxes.clip(0, limits), kept.scores.numpy(), kept.pred_classes.numpy())


def results(found: Found, classes: Classes) -> list[dict[str, Any]]:
    """Return an image's detections as COCO results, with the names of the image and the class."""
    lines = []
    for box, score, number in zip(found.boxes_xyxy_abs, found.scores, found.classes, strict=True):
        left, top, right, bottom = box.tolist()
        lines.append(
            {
                "image_id": found.record["image_id"],
                "category_id": classes.ids[number],
                "bbox": [round(value, 2) for value in (left, top, right - left, bottom - top)],
                "score": round(float(score), 5),
                "file_name": found.record["file_name"],
                "category_name": classes.names[number],
            }
        )
    return lines


def image_info(images: Iterable[dict[str, Any]], classes: Classes) -> dict[str, Any]:
    """Return what results refer to, in the layout of COCO's ``image_info`` files: images and categories."""
    return {
        "images": [
            {"id": one["image_id"], **{key: one[key] for key in ("file_name", "width", "height")}} for one in images
        ],
        "categories": [{"id": id, "name": name} for id, name in zip(classes.ids, classes.names, strict=True)],
    }


def pixels(found: Found) -> np.ndarray:
    """Return the image, RGB uint8 [height, width, 3]."""
    return read_image(found.record["file_name"])
