"""RT-DETR and RT-DETRv2 against `transformers`, with the same random weights, in double precision.

Only outputs: the peer's training counts denoising queries among the others in some versions, and freezes what the
published code trains; losses are compared with cases worked by hand.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
)

from repro.meta_arch.rtdetr import RTDETR
from repro.modeling.criterion import SetCriterion
from repro.modeling.hybrid_encoder import HybridEncoder
from repro.modeling.matching import HungarianMatcher
from repro.modeling.presnet import PResNet
from repro.modeling.transformer import ContrastiveDenoising, DeformableDecoder, EncoderQueries, RTDETRTransformer
from repro.weights import rtdetr as weights

CHANNELS = {"basic": [16, 32, 64, 128], "bottleneck": [32, 64, 128, 256]}
DEPTH = {"basic": 10, "bottleneck": 14}
WIDTH = {"basic": 16, "bottleneck": 8}
CASES = [(1, "basic", 3, 0.5), (2, "basic", 3, 0.5), (2, "basic", 1, 1.0), (1, "bottleneck", 4, 1.0)]


def ours(version: int, block: str, points: int, expansion: float) -> RTDETR:
    """Random weights everywhere, and batch statistics that keep what they make of them in a sound range."""
    torch.manual_seed(0)
    model = RTDETR(
        backbone=PResNet(DEPTH[block], WIDTH[block]),
        neck=HybridEncoder(
            ["res3", "res4", "res5"], CHANNELS[block][1:], embed_dim=32, num_heads=4, ffn_dim=48, expansion=expansion
        ),
        transformer=RTDETRTransformer(
            DeformableDecoder(32, 2, 4, 3, points, 40, dropout=0.0),
            EncoderQueries(12, 32, 5),
            in_channels=32,
            version=version,
        ),
        criterion=SetCriterion(HungarianMatcher()),
        denoising=ContrastiveDenoising(10),
        num_classes=5,
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        for _ in range(2):
            model.train().forward_tensors(torch.rand(4, 3, 96, 128, dtype=torch.float64))
    return model.eval()


def theirs(model: RTDETR, version: int, block: str, points: int, expansion: float) -> nn.Module:
    """Their model with our weights."""
    config_class, model_class = {
        1: (RTDetrConfig, RTDetrForObjectDetection),
        2: (RTDetrV2Config, RTDetrV2ForObjectDetection),
    }[version]
    backbone = RTDetrResNetConfig(
        embedding_size=WIDTH[block],
        hidden_sizes=CHANNELS[block],
        depths=[1, 1, 1, 1],
        layer_type=block,
        out_features=["stage2", "stage3", "stage4"],
    )
    config = config_class(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=CHANNELS[block][1:],
        encoder_ffn_dim=48,
        encoder_attention_heads=4,
        hidden_expansion=expansion,
        d_model=32,
        num_queries=12,
        decoder_in_channels=[32] * 3,
        decoder_ffn_dim=40,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_n_points=points,
        num_labels=5,
    )
    peer = model_class(config).eval().double()
    missing, unexpected = peer.load_state_dict(weights.to_transformers(model.state_dict(), version), strict=False)
    assert unexpected == [] and all(name.endswith("n_points_scale") for name in missing)
    return peer


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"v{case[0]}-{case[1]}-{case[2]}")
def pair(request) -> tuple[RTDETR, nn.Module]:
    model = ours(*request.param)
    return model, theirs(model, *request.param)


def images(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("size", [(128, 128), (96, 160), (160, 96)], ids=str)
def test_outputs_agree(pair, size):
    model, peer = pair
    model.neck.positions = "rows"
    expected = peer(images(*size))
    memory = model.transformer.encode(model.neck(model.backbone(images(*size))))
    queries = model.transformer.start(memory)
    found = model.predict(queries, memory)
    torch.testing.assert_close(found.pred_logits, expected.logits, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.pred_boxes, expected.pred_boxes, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(queries.tokens.logits, expected.enc_topk_logits, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(queries.tokens.boxes_cxcywh_rel, expected.enc_topk_bboxes, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_names_lead_back(pair):
    model, peer = pair
    back = weights.from_transformers(peer.state_dict())
    own = model.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    assert back.keys() - counters == own.keys() - counters
    assert all(torch.equal(back[name], own[name]) for name in own.keys() - counters)


@torch.no_grad()
@pytest.mark.parametrize(("size", "mode"), [((128, 128), "discrete"), ((96, 160), "discrete_per_axis")], ids=str)
def test_points_read_at_one_pixel(size, mode):
    """Theirs reads rectangles rightly, which as published only squares are."""
    case = (2, "basic", 3, 0.5)
    model = ours(*case)
    peer = theirs(model, *case)
    for layer in peer.model.decoder.layers:
        layer.encoder_attn.method = "discrete"
    for layer in model.transformer.decoder.layers:
        layer.cross_attn.mode = mode
    expected, found = peer(images(*size)), model.forward_tensors(images(*size))
    torch.testing.assert_close(found.pred_logits, expected.logits, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.pred_boxes, expected.pred_boxes, rtol=1e-6, atol=1e-6)
