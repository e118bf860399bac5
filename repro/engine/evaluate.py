"""Score a trained detector, or raw proposals, on a test set: the kind ``evaluate``; and foreign detections.

The detector is rebuilt from its own recipe, which its stage left beside the weights; the evaluation's recipe says on
what data and by which evaluators, and its section ``inference``, if it has one, lays settings over the detector's. A
section ``testing`` is a call that takes the detector and answers in its place, at several scales for example. The
detections are kept, since bootstrap, error analysis and pictures need them.
"""

from __future__ import annotations

import copy
import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.evaluation.evaluator import DatasetEvaluator, DatasetEvaluators, inference_on_dataset
from detectron2.utils import comm
from torch import nn

from repro.data import datasets
from repro.data.loader import test_loader
from repro.data.proposals import FILE, Proposals
from repro.engine import config, evaluate_model, evaluate_proposals, hooks, inputs, parents
from repro.engine.config import build
from repro.engine.outcome import Outcome
from repro.errors import DataError, StageError
from repro.harness.signature import flatten
from repro.harness.work import Work

DETECTIONS = "detections.json.gz"


def run(work: Work, found: Mapping[str, parents.Parent], device: torch.device) -> Outcome:
    """Run the detector of the only parent over the test set and score it; a parent that proposes is scored itself.

    A recipe without images is of the model alone: `evaluate_model`.

    Raises:
        StageError: there is not exactly one parent.
    """
    if len(found) != 1:
        raise StageError(f"{work.stage.label} scores one detector, and has {len(found)} parents: {', '.join(found)}")
    parent = next(iter(found.values()))
    if "data" not in work.stage.recipe:
        return evaluate_model.run(work, parent, device)
    evaluators = build_evaluators(work.stage.recipe, work.datasets_root)
    answer = _proposals if parent.kind == "propose" else _detector
    results, iterations = answer(work, parent, evaluators, device)
    file = work.output / DETECTIONS
    first = next(iter(evaluators.values()))
    if comm.is_main_process():
        _write(first.detections, file)
    return Outcome(
        metrics=flat(results),
        iterations=iterations,
        artifacts={"detections": file},
        implementation={name: evaluator.engine for name, evaluator in evaluators.items()},
        origin=parent.origin,
    )


def _detector(
    work: Work, parent: parents.Parent, evaluators: Mapping[str, Any], device: torch.device
) -> tuple[dict[str, dict[str, float]], int]:
    """Results of a trained detector, and the number of batches."""
    model = build(detector(parent, work.stage.recipe))
    model.load_state_dict(parent.weights())
    only_class = work.stage.recipe.get("detector", {}).get("only_class")
    if only_class is not None:
        rank_by(model, only_class)
    if "testing" in work.stage.recipe:
        model = build(work.stage.recipe["testing"], model)
    loader = test_batches(work.stage.recipe["data"], inputs.sound(work))
    progress = _Progress(hooks.ProgressFile(work.output, "evaluate"), len(loader))
    return inference_on_dataset(model.to(device), loader, _Named(evaluators, progress)), len(loader)


def detector(parent: parents.Parent, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The parent's ``model``, with the settings that the evaluation's section ``inference`` lays over it, if any.

    Raises:
        StageError: it sets what the parent's model does not have.
    """
    return laid_over(parent.recipe["model"], recipe, f"the model of {parent.name}")


def laid_over(model: Mapping[str, Any], recipe: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A copy of a recipe's ``model`` with the settings of an evaluation's recipe; see `detector`."""
    changed: dict[str, Any] = copy.deepcopy(dict(model))
    faults = config.apply(changed, flatten(recipe.get("inference", {})), name)
    if faults:
        raise StageError(f"The evaluation's section inference does not fit: {'; '.join(faults)}")
    return changed


def rank_by(model: nn.Module, only_class: int) -> None:
    """Have a detector rank what it finds by the score of one class alone.

    Raises:
        StageError: it cannot, or has no such class.
    """
    able = [module for module in model.modules() if hasattr(module, "only_class")]
    if not able:
        raise StageError(f"The recipe sets detector.only_class, but a {type(model).__name__} ranks by all its classes")
    for module in able:
        if not 0 <= only_class < module.num_classes:
            raise StageError(f"The recipe sets detector.only_class to {only_class}; there are {module.num_classes}")
        module.only_class = only_class


def _proposals(
    work: Work, parent: parents.Parent, evaluators: Mapping[str, Any], device: torch.device
) -> tuple[dict[str, dict[str, float]], int]:
    """Results of raw proposals, and the number of images."""
    recipe = work.stage.recipe
    if "proposals" not in recipe:
        raise StageError(f"{work.stage.label}: its recipe scores detectors; proposals need a section proposals")
    records = inputs.sound(work)
    progress = _Progress(hooks.ProgressFile(work.output, "evaluate"), len(records))
    found = Proposals(parent.folder / FILE)
    return evaluate_proposals.feed(found, records, recipe["proposals"], _Named(evaluators, progress)), len(records)


def score_file(recipe: Mapping[str, Any], detections: Path, datasets_root: Path | None = None) -> dict[str, float]:
    """Metrics of COCO results (JSON, may be gzipped) that any code base wrote, by the evaluators of a recipe.

    Args:
        recipe: resolved recipe of an ``evaluate`` stage.
        detections: the file.
        datasets_root: see `repro.data.datasets`.

    Raises:
        DataError: the file cannot be read, or holds images or categories that the data set does not have.
    """
    opener = gzip.open if detections.suffix == ".gz" else open
    try:
        with opener(detections, "rt", encoding="utf-8") as file:
            results = json.load(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{detections} cannot be read as COCO results: {error}") from error
    metrics: dict[str, float] = {}
    for name, evaluator in build_evaluators(recipe, datasets_root).items():
        metrics |= {f"{name}.{key}": value for key, value in evaluator.score_results(results, str(detections)).items()}
    return metrics


def build_evaluators(recipe: Mapping[str, Any], datasets_root: Path | None) -> dict[str, Any]:
    """The recipe's evaluators by name, bound to its data set's ground truth."""
    dataset = recipe["data"]["dataset"]
    contiguous = datasets.metadata(dataset, datasets_root)["thing_dataset_id_to_contiguous_id"]
    category_ids = sorted(contiguous, key=contiguous.__getitem__)
    truth = datasets.annotation_file(dataset, datasets_root, skip_bad=recipe["data"]["skip_bad"])
    return {
        name: build(node, annotation_file=truth, category_ids=category_ids)
        for name, node in recipe["evaluators"].items()
    }


def test_batches(data: Mapping[str, Any], records: Sequence[dict[str, Any]]) -> Any:
    """The test loader of a recipe: this process's share of the images."""
    return test_loader(
        records,
        build(data["mapper"]),
        batch_size=data["batch_size"],
        workers=data["workers"],
        rank=comm.get_rank(),
        world=comm.get_world_size(),
    )


def flat(results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """``{"coco_box": {"AP": 1.0}}`` as ``{"coco_box.AP": 1.0}``, which is how tables name metrics."""
    return {f"{name}.{key}": value for name, metrics in results.items() for key, value in metrics.items()}


def _write(detections: Sequence[Mapping[str, Any]], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # No time stamp and no name inside: equal detections give an equal file.
    with temporary.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
        file.write(json.dumps(detections).encode())
    temporary.replace(path)


class _Named(DatasetEvaluators):
    """Several evaluators, each under the name that the recipe gives it: one class may stand in it twice."""

    def __init__(self, evaluators: Mapping[str, Any], progress: DatasetEvaluator) -> None:
        super().__init__([*evaluators.values(), progress])
        self.by_name = evaluators

    def evaluate(self) -> dict[str, dict[str, float]]:
        found = {name: evaluator.evaluate() for name, evaluator in self.by_name.items()}
        return {name: metrics for name, results in found.items() for metrics in results.values()}


class _Progress(DatasetEvaluator):
    """Counts batches instead of scoring them."""

    def __init__(self, file: hooks.ProgressFile, batches: int) -> None:
        self.file = file
        self.batches = batches
        self.done = 0

    def process(self, inputs: Any, outputs: Any) -> None:
        self.done += 1
        self.file.update(self.done, self.batches)
