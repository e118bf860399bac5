"""Published weights of DETR (Carion et al. 2020), and of DETReg and UP-DETR around it: their parameter names to ours.

The files hold ``model`` beside the state of training. Class heads have a row for every COCO id up to 90, ours one for
each of the 80 classes; row 91 is "no object". The objects of DETReg's pretraining have id 1, ours class 0, and so they
share a row here too. UP-DETR's pretraining tells apart nothing (0), patches (1) and "no object".

Whether a file is pre-norm shows in its names (``transformer.encoder.norm``), so that loading it strictly into a model
of the other kind is an error. Which position formula it needs does not show: DETReg's wants ``centred_position``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from repro.errors import StageError
from repro.weights import torchvision_resnet

COCO_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
"""Ids of the 80 classes, in the order of their contiguous numbers."""

ROWS = {92: [*COCO_IDS, 91], 3: [1, 0, 2]}
"""Rows of a class head to keep, by how many it has; heads of another size stay as they are."""

RULES = (
    (r"^query_embed\.", "transformer.queries.query_embed."),
    (r"^input_proj\.", "neck.input_proj."),
    (r"^(class|bbox)_embed\.", r"\1_embed.0."),
    (r"^feature_embed\.", "embedding_head."),
)
OURS = r"^(backbone|neck|transformer|class_embed|bbox_embed|embedding_head|patch2query|feature_align)\."


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dictionary under our names.

    Raises:
        StageError: it has names that no file of this family has.
    """
    converted = renamed(state, RULES)
    return {name: rows(value, ROWS) if name.startswith("class_embed.") else value for name, value in converted.items()}


def renamed(state: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Apply ``rules`` to all names, and torchvision's to those of the backbone.

    Raises:
        StageError: names are left that we have no place for.
    """
    converted = {rename(name, rules): value for name, value in state.items()}
    if unknown := [name for name in converted if not re.match(OURS, name)]:
        raise StageError(f"These are not weights of this family: {', '.join(unknown[:3])} ... ({len(unknown)} names)")
    return converted


def rename(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """Our name of a published parameter.

    >>> rename("backbone.0.body.layer1.0.bn1.weight", RULES)
    'backbone.res2.0.conv1.norm.weight'
    """
    backbone = "backbone.0.body."
    if name.startswith(backbone):
        return "backbone." + torchvision_resnet.rename(name.removeprefix(backbone))
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def rows(head: Tensor, keep: Mapping[int, Sequence[int]]) -> Tensor:
    """The rows of a class head's weight or bias that its number of rows says to keep."""
    return head[torch.tensor(keep[len(head)])] if len(head) in keep else head
