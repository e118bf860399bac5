"""Deformable DETR against the implementation in `transformers`, with the same random weights, in double precision."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection, ResNetConfig

from repro.meta_arch.deformable_detr import DeformableDETR
from repro.modeling.criterion import SetCriterion
from repro.modeling.matching import HungarianMatcher, Targets
from repro.modeling.necks import ChannelMapper
from repro.modeling.transformer import (
    DeformableDecoder,
    DeformableEncoder,
    DeformableTransformer,
    EachLayer,
    LearnedQueries,
    NoRefinement,
)

DIM, LEVELS, CLASSES, DECODER_LAYERS = 32, 4, 5, 3
RENAMES = [  # theirs → ours
    (r"^model\.(input_proj)", r"neck.\1"),
    (r"^model\.query_position_embeddings", "transformer.queries.query_embed"),
    (r"^model\.reference_points", "transformer.queries.reference_points"),
    (r"^model\.decoder\.bbox_embed", "bbox_embed"),
    (r"^model\.", "transformer."),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"(encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
    (r"(decoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm2"),
    (r"(decoder\.layers\.\d+)\.encoder_attn_layer_norm", r"\1.norm1"),
    (r"(decoder\.layers\.\d+)\.final_layer_norm", r"\1.norm3"),
    (r"encoder_attn", "cross_attn"),
    (r"mlp\.fc", "linear"),
    (r"self_attn\.o_proj", "self_attn.out_proj"),
]


class TheirBackbone(nn.Module):
    """Lets our detector read the features of their backbone, which is not what is compared here."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(["res3", "res4", "res5"], self.backbone(images).feature_maps, strict=True))


def theirs(refined: bool) -> DeformableDetrForObjectDetection:
    backbone = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = DeformableDetrConfig(
        use_timm_backbone=False,
        backbone_config=backbone,
        d_model=DIM,
        encoder_layers=2,
        decoder_layers=DECODER_LAYERS,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=40,
        num_queries=12,
        num_feature_levels=LEVELS,
        encoder_n_points=3,
        decoder_n_points=2,
        auxiliary_loss=True,
        num_labels=CLASSES,
        class_cost=2,
        with_box_refine=refined,
    )
    torch.manual_seed(0)
    model = DeformableDetrForObjectDetection(config).eval().double()
    with torch.no_grad():  # initial values would hide much: offsets and box heads start without any weight
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def ours(model: DeformableDetrForObjectDetection, refined: bool) -> DeformableDETR:
    detector = DeformableDETR(
        backbone=TheirBackbone(model.model.backbone.model),
        neck=ChannelMapper(["res3", "res4", "res5"], [16, 24, 32], DIM, LEVELS),
        transformer=DeformableTransformer(
            encoder=DeformableEncoder(DIM, 2, 4, LEVELS, num_points=3, ffn_dim=48, dropout=0.0),
            decoder=DeformableDecoder(DIM, DECODER_LAYERS, 4, LEVELS, num_points=2, ffn_dim=40, dropout=0.0),
            queries=LearnedQueries(12, DIM),
            refine=EachLayer() if refined else NoRefinement(),
        ),
        criterion=SetCriterion(HungarianMatcher(), weight_class=1.0),
        num_classes=CLASSES,
    ).double()
    state = translate(model.state_dict(), detector)
    missing, unexpected = detector.load_state_dict(state, strict=False)
    assert unexpected == [] and all(name.startswith("backbone.") for name in missing)
    return detector.train()


def translate(state: dict[str, torch.Tensor], detector: DeformableDETR) -> dict[str, torch.Tensor]:
    """Their weights or gradients under our names; heads that all layers share are kept once."""
    renamed = {}
    for name, value in state.items():
        if name.startswith("model.backbone."):
            continue
        for theirs_name, our_name in RENAMES:
            name = re.sub(theirs_name, our_name, name)
        renamed[name] = value
    for prefix in {re.sub(r"[qkv]_proj.*", "", name) for name in renamed if re.search(r"self_attn\.q_proj", name)}:
        for kind in ("weight", "bias"):
            parts = [renamed.pop(f"{prefix}{part}_proj.{kind}") for part in "qkv"]
            renamed[f"{prefix}in_proj_{kind}"] = torch.cat(parts)
    known = detector.state_dict()
    shared = re.compile(r"(class_embed|bbox_embed)\.[1-9]")
    return {name: value for name, value in renamed.items() if name in known or not shared.match(name)}


@pytest.fixture(scope="module", params=[False, True], ids=["shared", "refined"])
def pair(request):
    model = theirs(request.param)
    return model, ours(model, request.param)


def batch(padded: bool) -> tuple[torch.Tensor, torch.Tensor | None, Targets, list[dict[str, torch.Tensor]]]:
    """Two rectangular images, the second smaller in both directions and without objects when padded."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, 97, 130, generator=generator, dtype=torch.float64)
    mask = torch.zeros(3, 97, 130, dtype=torch.bool)
    if padded:
        mask[1, 70:], mask[1, :, 101:], mask[2, :, 90:] = True, True, True
        images = images * ~mask[:, None]
    labels, boxes = [], []
    for count in (4, 0, 2):
        labels.append(torch.randint(CLASSES, (count,), generator=generator))
        centre = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 0.6 + 0.2
        size = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 0.3 + 0.05
        boxes.append(torch.cat([centre, size], dim=1))
    their_labels = [{"class_labels": a, "boxes": b} for a, b in zip(labels, boxes, strict=True)]
    return images, mask if padded else None, Targets.pad(labels, boxes), their_labels


@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
def test_outputs_losses_and_gradients_agree(pair, padded):
    model, detector = pair
    images, mask, targets, labels = batch(padded)
    pixel_mask = torch.ones(3, 97, 130, dtype=torch.long) if mask is None else (~mask).long()
    model.zero_grad()
    detector.zero_grad()
    expected = model(images, pixel_mask=pixel_mask, labels=labels)
    predictions = detector.forward_tensors(images, mask)
    losses, _ = detector.criterion(predictions, targets)

    torch.testing.assert_close(predictions.pred_logits, expected.logits, rtol=0, atol=1e-9)
    torch.testing.assert_close(predictions.pred_boxes, expected.pred_boxes, rtol=0, atol=1e-9)
    for index, auxiliary in enumerate(expected.auxiliary_outputs):
        torch.testing.assert_close(predictions.logits[index], auxiliary["logits"], rtol=0, atol=1e-9)
        torch.testing.assert_close(predictions.boxes_cxcywh_rel[index], auxiliary["pred_boxes"], rtol=0, atol=1e-9)

    weights = {"loss_ce": 1, "loss_bbox": 5, "loss_giou": 2}
    for name, value in losses.items():
        weight = weights[re.sub(r"_\d+$", "", name)]
        torch.testing.assert_close(value / weight, expected.loss_dict[name], rtol=1e-9, atol=1e-9)
    total = sum(losses.values())
    torch.testing.assert_close(total, expected.loss, rtol=1e-9, atol=1e-9)

    expected.loss.backward()
    total.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    gradients = translate(gradients, detector)
    compared = {name: p.grad for name, p in detector.named_parameters() if not name.startswith("backbone.")}
    for index in range(1, len(detector.class_embed)):  # they tie the class heads even where boxes are refined
        for kind in ("weight", "bias"):
            compared[f"class_embed.0.{kind}"] += compared.pop(f"class_embed.{index}.{kind}")
    assert gradients.keys() == compared.keys()
    for name, gradient in compared.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-7, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")
