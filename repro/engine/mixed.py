"""The data of a semi-supervised training: labelled and unlabelled images in one batch.

A recipe whose ``data`` section has ``unlabelled`` trains this way. It has ``unlabelled.dataset`` and
``unlabelled.mapper``, and says how a batch is made up: ``total_batch_size``, ``share_size``, ``ratio``,
``by_probability``, ``aspect_groups`` (`repro.data.mixed_order.Mix`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from detectron2.utils import comm

from repro.data.mixed_loader import mixed_loader
from repro.data.mixed_order import Mix
from repro.engine import inputs, parents
from repro.engine.config import build


def batches(recipe: Mapping[str, Any], pools: inputs.Pools, seed: int, found: Mapping[str, parents.Parent]) -> Any:
    """The training loader as a function of the first step.

    Args:
        recipe: its ``data`` section.
        pools: the images.
        seed: the stage's.
        found: parents by kind.

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
