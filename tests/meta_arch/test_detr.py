import math

import pytest
import torch
from torch import nn

from repro.meta_arch import deformable_detr, detr
from repro.meta_arch.detr import example
from repro.modeling.transformer import DETRDecoder, DETREncoder, DETRTransformer, LearnedSlots
from repro.modeling.transformer.memory import Memory
from repro.modeling.transformer.queries import Queries

DIM, HEADS, FFN = 16, 2, 24


@pytest.fixture
def model():
    torch.manual_seed(0)
    return example()


def test_detections_by_hand(model):
    """Three queries, two classes and "no object": each query's better class, best first, boxes not clipped."""
    logits = torch.tensor([[1.0, 2, 5], [3, 1, 1], [1, 8, 1]]).log()
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.9, 0.5, 0.4, 0.2], [0.1, 0.1, 0.1, 0.1]])
    found = model.detections(logits, boxes, (100, 200))
    assert found.scores.tolist() == pytest.approx([0.8, 0.6, 0.25])
    assert found.pred_classes.tolist() == [1, 0, 1]
    expected = torch.tensor([[10.0, 5, 30, 15], [140, 40, 220, 60], [50, 25, 150, 75]])
    torch.testing.assert_close(found.pred_boxes.tensor, expected)
    model.test_topk = 1
    assert model.detections(logits, boxes, (100, 200)).pred_classes.tolist() == [1]


def test_heads_start_as_linear_layers_do_and_tell_one_class_more(model):
    (head,) = model.class_embed
    assert head.out_features == model.num_classes + 1
    assert head.bias.abs().max() <= 1 / math.sqrt(head.in_features) and head.bias.abs().sum() > 0


def test_queries_start_without_content(model):
    memory = Memory(torch.rand(2, 6, 32), ((2, 3),), torch.tensor([[[2.0, 3]]] * 2), None)
    queries = model.transformer.start(memory)
    assert queries.content.abs().sum() == 0 and queries.reference is None
    assert torch.equal(queries.position[1], model.transformer.queries.query_embed.weight)
    prompt = torch.rand(2, 20, 32)
    prompted = model.transformer.start(memory, prompt)
    torch.testing.assert_close(prompted.position, queries.position + prompt)
    assert prompted.content.abs().sum() == 0


@pytest.mark.parametrize("pre_norm", [False, True])
def test_layers_are_torchs_where_nothing_has_a_position(pre_norm):
    """Both orders of normalisation; positions themselves are compared with `transformers`."""
    torch.manual_seed(0)
    settings = {"dim_feedforward": FFN, "dropout": 0.0, "batch_first": True, "norm_first": pre_norm}
    norm = nn.LayerNorm(DIM) if pre_norm else None
    torch_encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(DIM, HEADS, **settings), 2, norm)
    torch_decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(DIM, HEADS, **settings), 2, nn.LayerNorm(DIM))
    for module in (torch_encoder, torch_decoder):  # its stacks start as copies
        for parameter in module.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    encoder = DETREncoder(DIM, 2, HEADS, FFN, 0.0, pre_norm)
    decoder = DETRDecoder(DIM, 2, HEADS, FFN, 0.0, pre_norm)
    encoder.load_state_dict(torch_encoder.state_dict())
    decoder.load_state_dict(torch_decoder.state_dict())

    tokens, content = torch.randn(2, 6, DIM), torch.randn(2, 4, DIM)
    mask = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
    zero = torch.zeros(2, 1, DIM)
    memory = encoder(Memory(tokens, ((2, 3),), torch.ones(2, 1, 2), mask, zero))
    expected = torch_encoder(tokens, src_key_padding_mask=mask)
    torch.testing.assert_close(memory.tokens, expected)
    states = decoder(Queries(content, None, torch.zeros_like(content)), memory, nn.Linear(DIM, 4)).states
    expected = torch_decoder(content, expected, memory_key_padding_mask=mask)
    torch.testing.assert_close(states[-1], expected)


def test_position_is_that_of_the_setting():
    features = [torch.zeros(1, 8, 2, 4)]
    for centred, last in ((False, 2 * math.pi), (True, 2 * math.pi * 3.5 / 4)):
        transformer = DETRTransformer(DETREncoder(8, 1, 2, 8), DETRDecoder(8, 1, 2, 8), LearnedSlots(3, 8), centred)
        position = transformer.encode(features).position.view(2, 4, 8)
        assert position[0, 3, 4].item() == pytest.approx(math.sin(last), abs=1e-5)
        assert position[0, 3, 5].item() == pytest.approx(math.cos(last), abs=1e-5)


def test_a_query_sees_only_those_that_the_mask_lets_it_see(model):
    memory = model.transformer.encode(model.neck(model.backbone(torch.rand(1, 3, 64, 64))))
    queries = model.eval().transformer.start(memory)
    mask = torch.ones(20, 20, dtype=torch.bool)
    mask[:5, :5] = mask[5:, 5:] = False
    before = model.predict(queries, memory, mask)
    changed = queries.position.clone()
    changed[:, 7] += 1
    after = model.predict(queries._replace(position=changed), memory, mask)
    same = (before.states - after.states).abs().sum((0, 1, 3)) == 0
    assert same[:5].all() and not same[5:].any()


@pytest.mark.parametrize("module", [detr, deformable_detr])
def test_ranked_by_one_class_every_query_counts_by_its_logit(module):
    """DETReg's authors: all queries, by the raw logit of the objectness, whatever the other outputs say."""
    detector = module.example(num_classes=3).eval()
    logits = torch.randn(20, detector.num_logits) + torch.tensor([0.0, 5.0, 5.0, 9.0])[: detector.num_logits]
    boxes = torch.rand(20, 4) / 2
    assert 0 not in detector.detections(logits, boxes, (100, 100)).pred_classes[:5]
    detector.only_class, detector.test_topk = 0, 15
    found = detector.detections(logits, boxes, (100, 200))
    order = sorted(range(20), key=lambda query: -logits[query, 0])[:15]
    assert found.pred_classes.tolist() == [0] * 15
    centres = found.pred_boxes.get_centers() / torch.tensor([200.0, 100.0])
    torch.testing.assert_close(centres, boxes[order, :2])
    assert (found.scores.diff() <= 0).all() and found.scores.max() <= 1
