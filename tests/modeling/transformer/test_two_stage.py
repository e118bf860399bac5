import pytest
import torch

from repro.modeling.transformer import TwoStageQueries
from repro.modeling.transformer.memory import flatten
from repro.modeling.transformer.two_stage import token_boxes


@pytest.fixture
def memory():
    """Two levels, 4×5 and 2×3; of the second image, the left 3 of 5 columns hold the image."""
    mask = torch.zeros(2, 8, 10, dtype=torch.bool)
    mask[1, :, 6:] = True
    torch.manual_seed(0)
    return flatten([torch.randn(2, 8, 4, 5), torch.randn(2, 8, 2, 3)], mask)


def test_tokens_start_from_boxes_around_their_place(memory):
    logits, valid = token_boxes(memory)
    boxes = logits.sigmoid()
    torch.testing.assert_close(boxes[0, 7], torch.tensor([2.5 / 5, 1.5 / 4, 0.05, 0.05]))
    torch.testing.assert_close(boxes[1, 7], torch.tensor([2.5 / 3, 1.5 / 4, 0.05, 0.05]))
    torch.testing.assert_close(boxes[0, 21], torch.tensor([1.5 / 3, 0.5 / 2, 0.1, 0.1]))
    assert valid[0].all()
    assert valid[1, :20].view(4, 5).sum(0).tolist() == [4, 4, 4, 0, 0]
    assert (boxes[1, 3] == 1).all()


def test_the_best_tokens_become_queries(memory):
    queries = TwoStageQueries(num_queries=3, embed_dim=8, num_classes=2)
    found = queries(memory)
    logits, boxes = found.tokens
    assert logits.shape == (2, 26, 2) and boxes.shape == (2, 26, 4)
    best = logits[0, :, 0].argsort(descending=True)[:3]
    torch.testing.assert_close(found.reference[0], boxes[0, best])
    assert not found.reference.requires_grad and boxes.requires_grad
    assert found.content.shape == found.position.shape == (2, 3, 8)
    found.content.sum().backward()
    assert queries.pos_trans.weight.grad is not None and queries.bbox_embed.layers[0].weight.grad is None
