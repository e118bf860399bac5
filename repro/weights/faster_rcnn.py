"""Faster R-CNN with FPN as mmdetection 2 and 3 name it: its parameter names to ours and back.

Nothing is permuted: since its version 2, mmdetection numbers classes, anchors and coordinates as Detectron2 does. What
version 1 wrote has background first, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from repro.errors import StageError
from repro.weights import torchvision_resnet

TENSORS = {295: "ResNet-50", 550: "ResNet-101"}
"""Of a detector on that backbone with FPN, counters of batch normalisation left out."""

Rules = Sequence[tuple[str, str]]
RULES: Rules = (  # theirs, ours
    (r"neck\.lateral_convs\.{n}\.conv\.", "backbone.fpn_lateral{n}."),
    (r"neck\.fpn_convs\.{n}\.conv\.", "backbone.fpn_output{n}."),
    (r"rpn_head\.rpn_conv\.", "proposal_generator.rpn_head.conv."),
    (r"rpn_head\.rpn_cls\.", "proposal_generator.rpn_head.objectness_logits."),
    (r"rpn_head\.rpn_reg\.", "proposal_generator.rpn_head.anchor_deltas."),
    (r"roi_head\.bbox_head\.shared_fcs\.{n}\.", "roi_heads.box_head.fc{n}."),
    (r"roi_head\.bbox_head\.fc_cls\.", "roi_heads.box_predictor.cls_score."),
    (r"roi_head\.bbox_head\.fc_reg\.", "roi_heads.box_predictor.bbox_pred."),
)
FIRST = {"lateral": 2, "output": 2, "fc": 1}
"""Our number of their part 0."""
BACKBONE, OUR_BACKBONE = "backbone.", "backbone.bottom_up."


def convert(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Our names for a published file's content, or the state dictionary within it.

    Raises:
        StageError: it is none of mmdetection 2 or 3, another detector than Faster R-CNN with FPN on a ResNet, or two.
    """
    state = checkpoint.get("state_dict", checkpoint)
    if any(name.startswith(("student.", "teacher.")) for name in state):
        raise StageError("The file holds a student and a teacher, which are for a Soft Teacher's recipe")
    if any(name.startswith(("bbox_head.fc_cls", "bbox_head.0.")) for name in state):
        raise StageError("These weights are of mmdetection 1, which counts background first: convert them with it")
    kept = {rename(name): value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    if len(kept) not in TENSORS:
        expected = " or ".join(f"{count} ({name})" for count, name in TENSORS.items())
        raise StageError(f"The detector has {len(kept)} tensors; expected {expected}: it is no Faster R-CNN with FPN")
    head = {part: kept[f"roi_heads.box_predictor.{part}.weight"].shape for part in ("cls_score", "bbox_pred")}
    if head["bbox_pred"][0] != 4 * (head["cls_score"][0] - 1):
        raise StageError(f"{head['cls_score'][0]} classes with background do not fit {head['bbox_pred'][0]} offsets")
    return kept


def rename(name: str) -> str:
    """Our name of a parameter of mmdetection's Faster R-CNN.

    >>> rename("neck.fpn_convs.3.conv.bias")
    'backbone.fpn_output5.bias'

    Raises:
        StageError: there is none.
    """
    if name.startswith(BACKBONE):
        return OUR_BACKBONE + torchvision_resnet.rename(name.removeprefix(BACKBONE))
    for theirs, ours in RULES:
        if match := re.match(theirs.replace("{n}", r"(\d+)"), name):
            kind = re.search(r"(\w+?)\{n\}", ours)
            number = str(int(match[1]) + _first(kind[1])) if kind else ""
            return ours.replace("{n}", number) + name[match.end() :]
    raise StageError(f"{name} is no weight of mmdetection's Faster R-CNN with FPN")


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their names for our weights; counters of batch normalisation are put back as zero."""
    published: dict[str, Tensor] = {}
    for name, value in state.items():
        published[theirs := _their_name(name)] = value
        if theirs.endswith("running_var"):
            published[theirs.replace("running_var", "num_batches_tracked")] = torch.zeros((), dtype=torch.long)
    return published


def _their_name(name: str) -> str:
    if name.startswith(OUR_BACKBONE):
        return BACKBONE + _torchvision_name(name.removeprefix(OUR_BACKBONE))
    for theirs, ours in RULES:
        if match := re.match(re.escape(ours).replace(r"\{n\}", r"(\d+)"), name):
            kind = re.search(r"(\w+?)\{n\}", ours)
            number = str(int(match[1]) - _first(kind[1])) if kind else ""
            return theirs.replace("\\", "").replace("{n}", number) + name[match.end() :]
    raise StageError(f"{name} is no weight of a Faster R-CNN with FPN")


def _torchvision_name(name: str) -> str:
    """What `torchvision_resnet.rename` undoes."""
    name = re.sub(r"^stem\.conv1\.norm\.", "bn1.", name).removeprefix("stem.")
    name = re.sub(r"^res(\d)\.", lambda match: f"layer{int(match[1]) - 1}.", name)
    name = re.sub(r"\.shortcut\.norm\.", ".downsample.1.", name)
    name = re.sub(r"\.shortcut\.", ".downsample.0.", name)
    return re.sub(r"\.conv(\d)\.norm\.", r".bn\1.", name)


def _first(kind: str) -> int:
    return FIRST[kind.removeprefix("fpn_")]
