import pytest
import torch

from repro.modeling.transformer import EncoderQueries
from repro.modeling.transformer.memory import Memory, flatten
from repro.modeling.transformer.two_stage import token_boxes


def memory(size):
    return flatten([torch.zeros(1, 1, size // stride, size // stride) for stride in (8, 16, 32)], None)


MEASURED = {
    480: 236,
    512: 252,
    544: 268,
    576: 284,
    608: 300,
    640: 316,
    672: 332,
    704: 348,
    736: 364,
    768: 380,
    800: 592,
}


@pytest.mark.parametrize(("size", "invalid"), MEASURED.items())
def test_tokens_without_a_box(size, invalid):
    """As measured with the authors' code, for all sizes of multi-scale training."""
    _, valid = token_boxes(memory(size))
    assert (~valid).sum().item() == invalid


def test_boxes_by_hand():
    boxes, _ = token_boxes(memory(640))
    assert boxes[0, 81].tolist() == pytest.approx([-3.9576, -3.9576, -2.9444, -2.9444], abs=1e-4)
    assert boxes[0, 6400 + 0].tolist() == pytest.approx([-4.3694, -4.3694, -2.1972, -2.1972], abs=1e-4)


@pytest.fixture
def queries():
    torch.manual_seed(0)
    return EncoderQueries(num_queries=5, embed_dim=8, num_classes=3)


def tokens(count=6):
    maps = [torch.randn(2, 8, count, count), torch.randn(2, 8, count // 2, count // 2)]
    return flatten(maps, None)


def test_the_best_tokens_are_chosen(queries):
    encoded: Memory = tokens()
    chosen = queries(encoded)
    logits = queries.enc_score_head(queries.enc_output(encoded.tokens))
    best = logits.amax(-1).topk(5).indices
    torch.testing.assert_close(chosen.tokens.logits, logits.gather(1, best.unsqueeze(-1).expand(-1, -1, 3)))
    torch.testing.assert_close(chosen.content[1, 0], queries.enc_output(encoded.tokens)[1, best[1, 0]])
    start, _ = token_boxes(encoded)
    torch.testing.assert_close(chosen.reference[0, 2], start[0, best[0, 2]].sigmoid())  # heads start without offsets


def test_gradients_flow_through_predictions_only(queries):
    chosen = queries(tokens())
    assert not chosen.content.requires_grad and not chosen.reference.requires_grad
    assert chosen.tokens.logits.requires_grad and chosen.tokens.boxes_cxcywh_rel.requires_grad


def test_fewer_tokens_than_queries(queries):
    assert queries(tokens(count=2)).content.shape[1] == 5
    queries.num_queries = 50
    assert queries(tokens(count=2)).content.shape[1] == 4 + 1
