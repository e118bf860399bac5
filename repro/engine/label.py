"""Label images by a trained detector, once and for all: the kind ``label`` of multi-stage semi-supervised training.

All processes of all its jobs share the images (`repro.engine.shared`), each with the detector on its own device and
``data.workers`` threads that decode.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from torch import nn

from repro.data.pseudo_labels import FILE, Detections, PseudoLabels
from repro.data.shards import Images
from repro.data.splits import REST
from repro.engine import evaluate, inputs, parents, shared
from repro.engine.config import build
from repro.engine.outcome import Outcome
from repro.errors import StageError
from repro.harness.work import Work

AHEAD = 2  # batches that are decoded while one is in the detector
COUNTED = (0.5, 0.7, 0.9)
"""Scores above which the record counts boxes."""


def run(work: Work, found: Mapping[str, parents.Parent], device: torch.device) -> Outcome:
    """Find objects in the unlabelled images of the recipe's data (`inputs.pools`) by the detector of the only parent.

    The recipe's section ``inference`` lays settings over the detector's, as that of an evaluation does.

    Raises:
        StageError: there is not exactly one parent, it is no trained detector, or the recipe lacks a section.
    """
    label, names, recipe = work.stage.label, ", ".join(work.stage.parents) or "none", work.stage.recipe
    if len(work.stage.parents) != 1 or not found.keys() & {"pretrain", "train", "finetune"}:
        raise StageError(f"{label} labels by one trained detector; its parents are: {names}")
    if "label" not in recipe or "unlabelled" not in recipe["data"]:
        raise StageError(f"{label}: its recipe needs a section label, and data.unlabelled to say what it labels")
    parent = next(iter(found.values()))
    model = build(evaluate.detector(parent, recipe))
    model.load_state_dict(parent.weights())
    records = inputs.pools(work).unlabelled
    file = work.output / FILE
    source = recipe["data"]["unlabelled"]["dataset"]
    fingerprint = work.stage.datasets[recipe["data"]["dataset"] if source == REST else source]
    with Detect(model.to(device).eval(), records, recipe["data"], work.stage.signature) as finder:
        shared.run(work, records, file, finder, fingerprint, recipe["label"]["shards"])
    if work.helps:
        return Outcome()
    labels = PseudoLabels(file)
    counts = {"images": len(labels), "boxes": labels.header["boxes"]}
    counts |= {f"boxes_above_{score}": labels.above(score) for score in COUNTED}
    return Outcome(
        metrics={f"labels.{name}": float(count) for name, count in counts.items()},
        iterations=len(labels),
        artifacts={"labels": file},
        origin=parent.origin,
    )


class Detect:
    """A detector as `repro.data.shards` takes it, in the process that it is in.

    Args:
        model: in evaluation, on its device.
        records: the images.
        data: the recipe's section: ``mapper``, ``batch_size``, ``workers``.
        signature: of the stage.
    """

    kind = PseudoLabels

    def __init__(
        self, model: nn.Module, records: Sequence[Mapping[str, Any]], data: Mapping[str, Any], signature: str
    ) -> None:
        self.model, self.signature = model, signature
        self.records = {record["image_id"]: record for record in records}
        self.mapper, self.batch_size = build(data["mapper"]), data["batch_size"]
        self.pool = ThreadPoolExecutor(max(data["workers"], 1))

    def __enter__(self) -> Detect:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def identity(self) -> list[Any]:
        """The stage, whose signature hashes all there is."""
        return [self.signature]

    def header(self, dataset: str, mark: str) -> dict[str, Any]:
        """What the file's header says of how it was made."""
        return {
            "detector": self.signature,
            "dataset": dataset,
            "mark": mark,
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
        }

    def find(self, images: Images, alive: Callable[[], Any]) -> dict[str, np.ndarray]:
        """The arrays of a shard."""
        found = []
        for batch in self._batches(images):
            with torch.no_grad():
                found += [_plain(answer["instances"]) for answer in self.model(batch)]
            alive()
        parts = Detections(*zip(*found, strict=True))
        return {
            **{name: np.concatenate(part) for name, part in zip(parts._fields, parts, strict=True)},
            "offsets": np.cumsum([0] + [len(one.scores) for one in found]).astype(np.int64),
            "image_ids": np.array([image_id for _, image_id in images], np.int64),
        }

    def _batches(self, images: Images) -> Iterator[list[dict[str, Any]]]:
        """Samples of a few images at a time, decoded ahead."""
        waiting: deque[list[Future[dict[str, Any]]]] = deque()
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            waiting.append([self.pool.submit(self.mapper, self.records[image_id]) for _, image_id in batch])
            if len(waiting) > AHEAD:
                yield [sample.result() for sample in waiting.popleft()]
        for batch_left in waiting:
            yield [sample.result() for sample in batch_left]


def _plain(found: Instances) -> Detections:
    """What is kept of a detector's answer; masks, for one, are not."""
    parts = (found.pred_boxes.tensor.float(), found.scores.float(), found.pred_classes)
    boxes, scores, classes = (part.cpu().numpy() for part in parts)
    return Detections(boxes, scores, classes.astype(np.uint16))
