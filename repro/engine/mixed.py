"""The data of a semi-supervised training: labelled and unlabelled images in one batch.

A recipe whose ``data`` section has ``unlabelled`` trains this way. It has ``unlabelled.dataset`` and
``unlabelled.mapper``, and says how a batch is made up: ``total_batch_size``, ``share_size``, ``ratio``,
``by_probability``, ``aspect_groups`` (`repro.data.mixed_order.Mix`). With ``unlabelled.choose`` the unlabelled images
have the boxes of a ``label`` parent that it chooses (`repro.data.pseudo_labels`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from detectron2.utils import comm

from repro.data import pseudo_labels
from repro.data.mixed_loader import mixed_loader
from repro.data.mixed_order import Mix
from repro.engine import inputs, parents
from repro.engine.config import build
from repro.errors import StageError
from repro.harness.work import Work

log = logging.getLogger(__name__)


def pools(work: Work, found: Mapping[str, parents.Parent]) -> inputs.Pools:
    """The images of both kinds; the unlabelled ones with the boxes that a ``label`` parent left, if there is one.

    Raises:
        StageError: there is such a parent and the recipe does not say which boxes to choose, or the other way round.
        DataError: the parent knows nothing of an unlabelled image, or no box is chosen.
    """
    images, choose = inputs.pools(work), work.stage.recipe["data"]["unlabelled"].get("choose")
    if "label" not in found:
        if choose is not None:
            raise StageError(f"{work.stage.label}: data.unlabelled.choose chooses boxes of a label stage; it has none")
        return images
    if choose is None:
        raise StageError(f"{work.stage.label} starts from a label stage; its recipe lacks data.unlabelled.choose")
    labels = pseudo_labels.PseudoLabels(found["label"].folder / pseudo_labels.FILE)
    chosen = pseudo_labels.labelled(images.unlabelled, labels, build(choose))
    log.info("%d of %d images without labels have pseudo boxes", len(chosen), len(images.unlabelled))
    return images._replace(unlabelled=chosen)


def batches(recipe: Mapping[str, Any], pools: inputs.Pools, seed: int) -> Any:
    """The training loader as a function of the first step.

    Args:
        recipe: its ``data`` section.
        pools: the images.
        seed: the stage's.

    Raises:
        DataError: batches cannot be made up, or shared out, as the recipe says.
    """
    data = recipe["data"]
    mix = Mix(
        data["total_batch_size"],
        data["share_size"],
        tuple(data["ratio"]),
        data["by_probability"],
        data["aspect_groups"],
    )
    labelled = pools.labelled, build(data["mapper"])
    unlabelled = pools.unlabelled, build(data["unlabelled"]["mapper"])

    def start(iteration: int) -> Iterator[list[dict[str, Any]]]:
        return mixed_loader(
            labelled,
            unlabelled,
            mix=mix,
            seed=seed,
            start_iteration=iteration,
            workers=data["workers"],
            rank=comm.get_rank(),
            world=comm.get_world_size(),
        )

    return start
