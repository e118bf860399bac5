"""Published weights of Deformable DETR (Zhu et al. 2021), all five variants, and of DETReg around it: names to ours.

The files hold ``model`` beside the state of training, and list the heads once for each decoder layer. Without box
refinement these are copies of one, which we keep once; with it they differ, and the decoder lists them once more. The
last head of a two-stage detector belongs to its encoder. Class heads have 91 rows, one for every COCO id from 0 to 90,
ours one for each of the 80 classes; DETReg's pretraining calls its objects 1, and we call them 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from repro.weights.detr import COCO_IDS, renamed, rows

ROWS = {91: COCO_IDS}
RULES = (
    (
        r"^transformer\.(reference_points|enc_output|enc_output_norm|pos_trans|pos_trans_norm)\.",
        r"transformer.queries.\1.",
    ),
    (r"^query_embed\.", "transformer.queries.query_embed."),
    (r"^input_proj\.", "neck.input_proj."),
    (r"^feature_embed\.", "embedding_head."),
)
COPIES = re.compile(r"^transformer\.decoder\.(class|bbox)_embed\.")
HEAD = re.compile(r"^(class|bbox)_embed\.(\d+)\.")


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dictionary under our names.

    Raises:
        StageError: it has names that no file of this family has.
    """
    heads = {name: rows(value, ROWS) if "class" in name else value for name, value in state.items() if HEAD.match(name)}
    rest = {name: value for name, value in state.items() if name not in heads and not COPIES.match(name)}
    if "transformer.enc_output.weight" in state:
        last = max(int(HEAD.match(name)[2]) for name in heads)
        heads = {re.sub(rf"_embed\.{last}\.", "_embed.", name): value for name, value in heads.items()}
        heads = {name if HEAD.match(name) else f"transformer.queries.{name}": value for name, value in heads.items()}
    if _are_copies(heads):
        heads = {name: value for name, value in heads.items() if not HEAD.match(name) or HEAD.match(name)[2] == "0"}
    return renamed({**rest, **heads}, RULES)


def _are_copies(heads: Mapping[str, Tensor]) -> bool:
    """Whether every layer has the heads of the first, bit for bit."""
    firsts = {name: HEAD.sub(r"\1_embed.0.", name) for name in heads if HEAD.match(name)}
    return all(torch.equal(heads[name], heads[first]) for name, first in firsts.items())
