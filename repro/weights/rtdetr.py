"""RT-DETR's and RT-DETRv2's weights: the names of the published files and of `transformers`, to ours and back.

The published files (release assets of github.com/lyuwenyu/storage, tags v0.1 and v0.2) nest the weights that were
evaluated under ``ema.module``, else under ``model``; v1 and v2 name four layers differently. Their buffers of anchors
and of points per level are left behind, since they follow from the settings. Files that were converted from Paddle lack
the counters of batch normalisation, which are put back as zero.

`transformers` splits the input projection of attention in three, and its v2 lists the decoder's heads twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Pairs = Sequence[tuple[str, str]]
"""Beginnings of names on either side; ``{}`` stands for a number. The first that fits counts."""

V1: Pairs = (  # v1's file, v2's file
    ("encoder.input_proj.{}.0.", "encoder.input_proj.{}.conv."),
    ("encoder.input_proj.{}.1.", "encoder.input_proj.{}.norm."),
    ("decoder.input_proj.{}.0.", "decoder.input_proj.{}.conv."),
    ("decoder.input_proj.{}.1.", "decoder.input_proj.{}.norm."),
    ("decoder.enc_output.0.", "decoder.enc_output.proj."),
    ("decoder.enc_output.1.", "decoder.enc_output.norm."),
)
OURS: Pairs = (  # v2's file, ours
    ("encoder.encoder.0.layers.0.", "neck.aifi."),
    ("encoder.", "neck."),
    ("decoder.decoder.layers.{}.norm1.", "transformer.decoder.layers.{}.norm2."),  # ours: as Deformable DETR's
    ("decoder.decoder.layers.{}.norm2.", "transformer.decoder.layers.{}.norm1."),
    ("decoder.decoder.layers.", "transformer.decoder.layers."),
    ("decoder.input_proj.", "transformer.input_proj."),
    ("decoder.query_pos_head.", "transformer.query_position.query_pos_head."),
    ("decoder.enc_", "transformer.queries.enc_"),
    ("decoder.denoising_class_embed.", "denoising_class_embed."),
    ("decoder.dec_score_head.", "class_embed."),
    ("decoder.dec_bbox_head.", "bbox_embed."),
)
BLOCK, THEIR_BLOCK = "backbone.res_layers.{}.blocks.{}.", "model.backbone.model.encoder.stages.{}.layers.{}."
LAYER, THEIR_LAYER = "decoder.decoder.layers.{}.", "model.decoder.layers.{}."
AIFI, THEIR_AIFI = "encoder.encoder.0.layers.0.", "model.encoder.aifi.0.layers.0."
TRANSFORMERS: Pairs = (  # v2's file, transformers 5
    *(
        (f"backbone.conv1.conv1_{k + 1}.{ours}.", f"model.backbone.model.embedder.embedder.{k}.{theirs}.")
        for k in range(3)
        for ours, theirs in (("conv", "convolution"), ("norm", "normalization"))
    ),
    *(
        (f"{BLOCK}branch2{'abc'[k]}.{ours}.", f"{THEIR_BLOCK}layer.{k}.{theirs}.")
        for k in range(3)
        for ours, theirs in (("conv", "convolution"), ("norm", "normalization"))
    ),
    (f"{BLOCK}short.conv.conv.", f"{THEIR_BLOCK}shortcut.1.convolution."),
    (f"{BLOCK}short.conv.norm.", f"{THEIR_BLOCK}shortcut.1.normalization."),
    (f"{BLOCK}short.conv.", f"{THEIR_BLOCK}shortcut.convolution."),
    (f"{BLOCK}short.norm.", f"{THEIR_BLOCK}shortcut.normalization."),
    ("encoder.input_proj.{}.conv.", "model.encoder_input_proj.{}.0."),
    ("encoder.input_proj.{}.norm.", "model.encoder_input_proj.{}.1."),
    ("decoder.input_proj.{}.conv.", "model.decoder_input_proj.{}.0."),
    ("decoder.input_proj.{}.norm.", "model.decoder_input_proj.{}.1."),
    (f"{AIFI}self_attn.out_proj.", f"{THEIR_AIFI}self_attn.o_proj."),
    (f"{AIFI}linear", f"{THEIR_AIFI}mlp.fc"),
    (f"{AIFI}norm1.", f"{THEIR_AIFI}self_attn_layer_norm."),
    (f"{AIFI}norm2.", f"{THEIR_AIFI}final_layer_norm."),
    (AIFI, THEIR_AIFI),
    ("encoder.", "model.encoder."),
    (f"{LAYER}self_attn.out_proj.", f"{THEIR_LAYER}self_attn.o_proj."),
    (f"{LAYER}cross_attn.", f"{THEIR_LAYER}encoder_attn."),
    (f"{LAYER}linear", f"{THEIR_LAYER}mlp.fc"),
    (f"{LAYER}norm1.", f"{THEIR_LAYER}self_attn_layer_norm."),
    (f"{LAYER}norm2.", f"{THEIR_LAYER}encoder_attn_layer_norm."),
    (f"{LAYER}norm3.", f"{THEIR_LAYER}final_layer_norm."),
    (LAYER, THEIR_LAYER),
    ("decoder.query_pos_head.", "model.decoder.query_pos_head."),
    ("decoder.dec_score_head.", "model.decoder.class_embed."),
    ("decoder.dec_bbox_head.", "model.decoder.bbox_embed."),
    ("decoder.enc_output.proj.", "model.enc_output.0."),
    ("decoder.enc_output.norm.", "model.enc_output.1."),
    ("decoder.enc_", "model.enc_"),
    ("decoder.denoising_class_embed.", "model.denoising_class_embed."),
)
TRANSFORMERS_4: Pairs = (  # transformers 4's files, transformers 5
    ("model.encoder.encoder.0.layers.0.self_attn.out_proj.", f"{THEIR_AIFI}self_attn.o_proj."),
    ("model.encoder.encoder.0.layers.0.fc", f"{THEIR_AIFI}mlp.fc"),
    ("model.encoder.encoder.0.layers.0.", THEIR_AIFI),
    (f"{THEIR_LAYER}self_attn.out_proj.", f"{THEIR_LAYER}self_attn.o_proj."),
    (f"{THEIR_LAYER}fc", f"{THEIR_LAYER}mlp.fc"),
)
BUFFERS = re.compile(r"^decoder\.(anchors|valid_mask)$|num_points_scale$|n_points_scale$")
TWICE = ("class_embed.", "bbox_embed.")
PARTS = ("q_proj", "k_proj", "v_proj")


def convert(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Our names for a published file of v1 or v2: the file's content, or the state dictionary within it."""
    state = without_buffers(_nested(checkpoint))
    return _with_counters({_first(name, V1, OURS): value for name, value in state.items()})


def to_published(state: Mapping[str, Tensor], version: int = 2) -> dict[str, Tensor]:
    """A published file's names for our weights; without its buffers and its nesting."""
    reverse = _swapped(V1) if version == 1 else ()
    return {_first(name, _swapped(OURS), reverse): value for name, value in state.items()}


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the state dictionary, or the file, of ``RTDetrForObjectDetection`` or its v2."""
    kept = {name: value for name, value in without_buffers(state).items() if not name.startswith(TWICE)}
    renamed = {_first(name, TRANSFORMERS_4, _swapped(TRANSFORMERS), OURS): value for name, value in kept.items()}
    return _with_counters(_joined(renamed))


def to_transformers(state: Mapping[str, Tensor], version: int = 2) -> dict[str, Tensor]:
    """transformers 5's names for our weights; all that its model holds, but for v2's buffer ``n_points_scale``."""
    renamed = {_first(name, _swapped(OURS), TRANSFORMERS): value for name, value in _split(state).items()}
    if version == 2:
        heads = {name: value for name, value in renamed.items() if ".class_embed." in name or ".bbox_embed." in name}
        renamed |= {name.removeprefix("model.decoder."): value for name, value in heads.items()}
    # Its backbone's normalisation is frozen, whatever the size, and has no counters.
    return {
        name: value
        for name, value in renamed.items()
        if not (name.startswith("model.backbone.") and name.endswith("num_batches_tracked"))
    }


def without_buffers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is learned: anchors and numbers of points are left behind."""
    return {name: value for name, value in state.items() if not BUFFERS.search(name)}


def _nested(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    if "ema" in checkpoint:
        return checkpoint["ema"]["module"]
    return checkpoint.get("model", checkpoint)


def _with_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put back the counters of batch normalisation, but not in a backbone of bottlenecks, where it is frozen."""
    frozen = any(".branch2c." in name for name in state)
    for name in [name for name in state if name.endswith(".running_mean")]:
        constant = frozen and ("res_layers." in name or "conv1.conv1_" in name)
        counter = name.replace("running_mean", "num_batches_tracked")
        if constant:
            state.pop(counter, None)
        else:
            state.setdefault(counter, torch.zeros((), dtype=torch.long))
    return state


def _first(name: str, *tables: Pairs) -> str:
    """The name after one table and then the next."""
    for table in tables:
        for old, new in table:
            match = re.match(re.escape(old).replace(r"\{\}", r"(\d+)"), name)
            if match:
                name = new.format(*match.groups()) + name[match.end() :]
                break
    return name


def _swapped(pairs: Pairs) -> Pairs:
    return [(new, old) for old, new in pairs]


def _joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One input projection of three; the order of the rest is kept."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        match = re.fullmatch(r"(.*self_attn\.)(?:q|k|v)_proj\.(weight|bias)", name)
        if not match:
            result[name] = value
            continue
        prefix, kind = match.groups()
        if f"{prefix}in_proj_{kind}" not in result:
            result[f"{prefix}in_proj_{kind}"] = torch.cat([state[f"{prefix}{part}.{kind}"] for part in PARTS])
    return result


def _split(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        match = re.fullmatch(r"(.*self_attn\.)in_proj_(weight|bias)", name)
        if not match:
            result[name] = value
            continue
        prefix, kind = match.groups()
        result |= {f"{prefix}{part}.{kind}": piece for part, piece in zip(PARTS, value.chunk(3), strict=True)}
    return result
