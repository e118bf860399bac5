"""DETR and Deformable DETR against `transformers`, with the same random weights, in double precision.

Where `transformers` differs from us, and from the published code:

- it has no pre-norm DETR (`test_detr.py` compares that with torch's own layers);
- with auxiliary losses, its DETR feeds each layer the *normalised* state of the one before and normalises the last one
  twice; we compare with models cut after each layer instead;
- it has no loss on the boxes of the first of two stages (compared here by calling its loss once more), and computes the
  position of the second stage's queries in single precision;
- it ties the class heads of all layers where boxes are refined in one stage;
- it weighs Deformable DETR's class loss with 1 instead of 2.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
import torch
from torch import nn
from transformers import (
    DeformableDetrConfig,
    DeformableDetrForObjectDetection,
    DetrConfig,
    DetrForObjectDetection,
    ResNetConfig,
)

from repro.meta_arch.deformable_detr import DeformableDETR
from repro.meta_arch.detr import DETR
from repro.modeling.class_costs import SoftmaxCost
from repro.modeling.class_losses import CrossEntropyLoss
from repro.modeling.criterion import SetCriterion
from repro.modeling.matching import HungarianMatcher, Targets
from repro.modeling.necks import ChannelMapper, SingleMap
from repro.modeling.transformer import (
    DeformableDecoder,
    DeformableEncoder,
    DeformableTransformer,
    DETRDecoder,
    DETREncoder,
    DETRTransformer,
    EachLayer,
    LearnedQueries,
    LearnedSlots,
    NoRefinement,
    TwoStageQueries,
)

DIM, LEVELS, CLASSES, QUERIES, DECODER_LAYERS = 32, 4, 5, 12, 3
RENAMES = [  # theirs → ours
    (r"^model\.(input_proj)", r"neck.\1"),
    (r"^neck\.input_projection", "neck.input_proj"),
    (r"^model\.query_position_embeddings", "transformer.queries.query_embed"),
    (r"^model\.(reference_points|enc_output|enc_output_norm|pos_trans|pos_trans_norm)\.", r"transformer.queries.\1."),
    (r"^model\.decoder\.(class|bbox)_embed", r"\1_embed"),
    (rf"^(class|bbox)_embed\.{DECODER_LAYERS}", r"transformer.queries.\1_embed"),
    (r"^class_labels_classifier", "class_embed.0"),
    (r"^bbox_predictor", "bbox_embed.0"),
    (r"^model\.", "transformer."),
    (r"decoder\.layernorm", "decoder.norm"),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"(encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
    (r"(decoder\.layers\.\d+)\.final_layer_norm", r"\1.norm3"),
    (r"mlp\.fc", "linear"),
    (r"o_proj", "out_proj"),
]
DETR_RENAMES = [
    (r"(decoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"(decoder\.layers\.\d+)\.encoder_attn_layer_norm", r"\1.norm2"),
    (r"encoder_attn", "multihead_attn"),
]
DEFORMABLE_RENAMES = [
    (r"(decoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm2"),
    (r"(decoder\.layers\.\d+)\.encoder_attn_layer_norm", r"\1.norm1"),
    (r"encoder_attn", "cross_attn"),
]


class TheirBackbone(nn.Module):
    """Lets our detector read the features of their backbone, which is not what is compared here."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(["res3", "res4", "res5"], self.backbone(images).feature_maps, strict=True))


def theirs(kind: str) -> nn.Module:
    settings = {
        "use_timm_backbone": False,
        "backbone_config": ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        ),
        "d_model": DIM,
        "encoder_layers": 2,
        "decoder_layers": DECODER_LAYERS,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 40,
        "num_queries": QUERIES,
        "auxiliary_loss": kind != "detr",
        "num_labels": CLASSES,
    }
    torch.manual_seed(0)
    if kind == "detr":
        model = DetrForObjectDetection(DetrConfig(**settings))
    else:
        model = DeformableDetrForObjectDetection(
            DeformableDetrConfig(
                **settings,
                num_feature_levels=LEVELS,
                encoder_n_points=3,
                decoder_n_points=2,
                class_cost=2,
                with_box_refine=kind != "shared",
                two_stage=kind == "two_stage",
                two_stage_num_proposals=QUERIES,
            )
        )
    model = model.eval().double()
    with torch.no_grad():  # initial values would hide much: offsets and box heads start without any weight
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def our_detr(backbone: nn.Module) -> DETR:
    return DETR(
        backbone=backbone,
        neck=SingleMap("res5", 32, DIM),
        transformer=DETRTransformer(
            encoder=DETREncoder(DIM, 2, 4, ffn_dim=48, dropout=0.0),
            decoder=DETRDecoder(DIM, DECODER_LAYERS, 4, ffn_dim=40, dropout=0.0),
            queries=LearnedSlots(QUERIES, DIM),
        ),
        criterion=SetCriterion(
            HungarianMatcher(cost_class=1.0, class_cost=SoftmaxCost()), weight_class=1.0, class_loss=CrossEntropyLoss()
        ),
        num_classes=CLASSES,
    )


def our_deformable_detr(backbone: nn.Module, kind: str) -> DeformableDETR:
    two_stage = kind == "two_stage"
    return DeformableDETR(
        backbone=backbone,
        neck=ChannelMapper(["res3", "res4", "res5"], [16, 24, 32], DIM, LEVELS),
        transformer=DeformableTransformer(
            encoder=DeformableEncoder(DIM, 2, 4, LEVELS, num_points=3, ffn_dim=48, dropout=0.0),
            decoder=DeformableDecoder(DIM, DECODER_LAYERS, 4, LEVELS, num_points=2, ffn_dim=40, dropout=0.0),
            queries=TwoStageQueries(QUERIES, DIM, CLASSES) if two_stage else LearnedQueries(QUERIES, DIM),
            refine=NoRefinement() if kind == "shared" else EachLayer(),
        ),
        criterion=SetCriterion(HungarianMatcher(), weight_class=1.0),
        num_classes=CLASSES,
    )


def ours(model: nn.Module, kind: str) -> DETR:
    backbone = TheirBackbone(model.model.backbone.model)
    detector = (our_detr(backbone) if kind == "detr" else our_deformable_detr(backbone, kind)).double()
    missing, unexpected = detector.load_state_dict(translate(model.state_dict(), detector), strict=False)
    assert unexpected == [] and all(name.startswith("backbone.") for name in missing)
    return detector.train()


def translate(state: dict[str, torch.Tensor], detector: DETR) -> dict[str, torch.Tensor]:
    """Their weights or gradients under our names; heads that all layers share are kept once."""
    renames = [*RENAMES, *(DEFORMABLE_RENAMES if isinstance(detector, DeformableDETR) else DETR_RENAMES)]
    renamed = {}
    for name, value in state.items():
        if name.startswith("model.backbone."):
            continue
        for theirs_name, our_name in renames:
            name = re.sub(theirs_name, our_name, name)
        renamed[name] = value
    for prefix in {re.sub(r"q_proj.*", "", name) for name in renamed if "q_proj" in name}:
        for kind in ("weight", "bias"):
            parts = [renamed.pop(f"{prefix}{part}_proj.{kind}") for part in "qkv"]
            renamed[f"{prefix}in_proj_{kind}"] = torch.cat(parts)
    known = detector.state_dict()
    shared = re.compile(r"(class_embed|bbox_embed)\.[1-9]")
    return {name: value for name, value in renamed.items() if name in known or not shared.match(name)}


@pytest.fixture(scope="module", params=["detr", "shared", "refined", "two_stage"])
def pair(request):
    model = theirs(request.param)
    return model, ours(model, request.param)


@pytest.fixture(scope="module", params=[False, True], ids=["full", "padded"])
def batch(request):
    """Images, mask and objects: three rectangles, if padded two smaller ones among them; the second has no objects."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, 97, 130, generator=generator, dtype=torch.float64)
    mask = torch.zeros(3, 97, 130, dtype=torch.bool)
    if request.param:
        mask[1, 70:], mask[1, :, 101:], mask[2, :, 90:] = True, True, True
        images = images * ~mask[:, None]
    labels, boxes = [], []
    for count in (4, 0, 2):
        labels.append(torch.randint(CLASSES, (count,), generator=generator))
        centre = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 0.6 + 0.2
        size = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 0.3 + 0.05
        boxes.append(torch.cat([centre, size], dim=1))
    return images, mask if request.param else None, labels, boxes


class Expected(NamedTuple):
    layers: list[tuple[torch.Tensor, torch.Tensor]]
    """Logits and boxes of each decoder layer."""
    losses: dict[str, torch.Tensor]
    loss: torch.Tensor


def their_outputs(model, images, mask, labels, boxes):
    pixel_mask = torch.ones(3, 97, 130, dtype=torch.long) if mask is None else (~mask).long()
    objects = [{"class_labels": a, "boxes": b} for a, b in zip(labels, boxes, strict=True)]
    torch.set_default_dtype(torch.float64)  # their cross-entropy makes its weights anew
    try:
        return model(images, pixel_mask=pixel_mask, labels=objects)
    finally:
        torch.set_default_dtype(torch.float32)


def expected_of(model, *batch) -> Expected:
    if isinstance(model, DetrForObjectDetection):
        return expected_layer_by_layer(model, *batch)
    found = their_outputs(model, *batch)
    layers = [(layer["logits"], layer["pred_boxes"]) for layer in [*found.auxiliary_outputs, found]]
    if not model.config.two_stage:
        return Expected(layers, found.loss_dict, found.loss)
    extra, losses = their_encoder_losses(model, found, *batch[2:])
    return Expected(layers, found.loss_dict | losses, found.loss + extra)


def expected_layer_by_layer(model, *batch) -> Expected:
    """The same weights in models of one, two … decoder layers, whose losses are added up."""
    decoder, layers, losses, total = model.model.decoder, [], {}, 0
    every = decoder.layers
    for depth in range(1, DECODER_LAYERS + 1):
        decoder.layers = every[:depth]
        found = their_outputs(model, *batch)
        layers.append((found.logits, found.pred_boxes))
        suffix = "" if depth == DECODER_LAYERS else f"_{depth - 1}"
        losses |= {f"{name}{suffix}": value for name, value in found.loss_dict.items()}
        total = total + found.loss
    decoder.layers = every
    return Expected(layers, losses, total)


def their_encoder_losses(model, found, labels, boxes):
    """Their loss on the boxes of the first stage, all objects of class 0, as the published code has it."""
    config = type(model.config).from_dict({**model.config.to_dict(), "auxiliary_loss": False})
    objects = [{"class_labels": torch.zeros_like(a), "boxes": b} for a, b in zip(labels, boxes, strict=True)]
    first = found.enc_outputs_coord_logits.sigmoid()
    total, losses, _ = model.loss_function(found.enc_outputs_class, objects, model.device, first, config)
    return total, {f"{name}_enc": value for name, value in losses.items()}


def gradients_of(model, detector):
    """Theirs and ours under our names. Where they tie class heads, ours of all layers are added up."""
    wanted = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    wanted = translate(wanted, detector)
    found = {name: p.grad for name, p in detector.named_parameters() if not name.startswith("backbone.")}
    for name in [name for name in found if re.match(r"class_embed\.[1-9]", name) and name not in wanted]:
        found[f"class_embed.0.{name.rpartition('.')[2]}"] += found.pop(name)
    return wanted, found


def test_outputs_losses_and_gradients_agree(pair, batch):
    model, detector = pair
    images, mask, labels, boxes = batch
    model.zero_grad()
    detector.zero_grad()
    expected = expected_of(model, images, mask, labels, boxes)
    predictions = detector.forward_tensors(images, mask)
    losses, _ = detector.criterion(predictions, Targets.pad(labels, boxes))
    two_stage = predictions.encoder is not None
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if two_stage else {"rtol": 1e-9, "atol": 1e-9}

    assert len(expected.layers) == len(predictions.logits) == DECODER_LAYERS
    for index, (logits, found_boxes) in enumerate(expected.layers):
        torch.testing.assert_close(predictions.logits[index], logits, **tolerance)
        torch.testing.assert_close(predictions.boxes_cxcywh_rel[index], found_boxes, **tolerance)

    weights = {"loss_ce": 1, "loss_bbox": 5, "loss_giou": 2}
    for name, value in losses.items():
        weight = weights[re.sub(r"_(\d+|enc)$", "", name)]
        torch.testing.assert_close(value / weight, expected.losses[name], **tolerance)
    assert len(losses) == 3 * (DECODER_LAYERS + two_stage)
    total = sum(losses.values())
    torch.testing.assert_close(total, expected.loss, **tolerance)

    expected.loss.backward()
    total.backward()
    wanted, found = gradients_of(model, detector)
    assert wanted.keys() == found.keys()
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if two_stage else {"rtol": 1e-7, "atol": 1e-8}
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], **tolerance, msg=lambda m, n=name: f"{n}: {m}")


def test_boxes_of_the_first_stage_agree(batch):
    model = theirs("two_stage")
    images, mask, labels, boxes = batch
    expected = their_outputs(model, images, mask, labels, boxes)
    found = ours(model, "two_stage").forward_tensors(images, mask).encoder
    torch.testing.assert_close(found.logits, expected.enc_outputs_class, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.boxes_cxcywh_rel, expected.enc_outputs_coord_logits.sigmoid(), rtol=0, atol=1e-9)
