import pytest
import torch
from torch import nn

from repro.layers.mlp import MLP
from repro.modeling.transformer import (
    DeformableDecoder,
    DeformableEncoder,
    DeformableTransformer,
    LearnedPosition,
    LearnedQueries,
)
from repro.modeling.transformer.queries import Queries

DIM = 16


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    model = DeformableTransformer(
        DeformableEncoder(DIM, num_layers=2, num_heads=2, num_levels=2, num_points=2, ffn_dim=24),
        DeformableDecoder(DIM, num_layers=2, num_heads=2, num_levels=2, num_points=2, ffn_dim=24),
        LearnedQueries(6, DIM),
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.fixture
def heads():
    torch.manual_seed(1)
    return nn.ModuleList([MLP(DIM, DIM, 4, num_layers=3)])


def features(size=(8, 12)):
    generator = torch.Generator().manual_seed(2)
    height, width = size
    shapes = [(height, width), (height // 2, width // 2)]
    return [torch.randn(1, DIM, *shape, generator=generator) for shape in shapes]


def padded(levels, value):
    """The same maps in the corner of maps 4/3 as high and 3/2 as wide, and the mask of images with stride 1."""
    maps = []
    for level in levels:
        height, width = level.shape[2:]
        larger = torch.full((1, DIM, height * 4 // 3, width * 3 // 2), value)
        larger[:, :, :height, :width] = level
        maps.append(larger)
    mask = torch.ones(1, *maps[0].shape[2:], dtype=torch.bool)
    mask[:, : levels[0].shape[2], : levels[0].shape[3]] = False
    return maps, mask


def run(model, heads, levels, mask=None):
    memory = model.encode(levels, mask)
    return memory, model.decode(model.start(memory), memory, heads)


@pytest.mark.parametrize("value", [0.0, 1e3])
def test_padding_changes_nothing(transformer, heads, value):
    """A padded image gives the result of the image alone, whatever stands in the padding."""
    levels = features((6, 8))
    alone_memory, alone = run(transformer, heads, levels)
    memory, decoded = run(transformer, heads, *padded(levels, value))
    torch.testing.assert_close(memory.tokens[~memory.padding_mask], alone_memory.tokens[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decoded.states, alone.states, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decoded.boxes_cxcywh_rel, alone.boxes_cxcywh_rel, rtol=1e-4, atol=1e-5)


def test_a_mask_without_padding_is_no_mask(transformer, heads):
    levels = features()
    _, alone = run(transformer, heads, levels)
    _, masked = run(transformer, heads, levels, torch.zeros(1, 8, 12, dtype=torch.bool))
    torch.testing.assert_close(masked.states, alone.states, rtol=1e-4, atol=1e-5)


def test_groups_of_queries_that_may_not_see_each_other_do_not(transformer, heads):
    """Further queries behind a mask leave the first ones' results as they are."""
    memory = transformer.encode(features())
    queries = transformer.start(memory)
    more = Queries(*(torch.cat([part, torch.rand_like(part)], dim=1) for part in queries[:3]))
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[:6, 6:], mask[6:, :6] = True, True
    alone = transformer.decode(queries, memory, heads)
    separate = transformer.decode(more, memory, heads, attn_mask=mask)
    together = transformer.decode(more, memory, heads)
    torch.testing.assert_close(separate.states[:, :, :6], alone.states)
    assert (together.states[:, :, :6] - alone.states).abs().max() > 1e-3


def test_gradients_reach_every_parameter(transformer, heads):
    _, decoded = run(transformer, heads, features())
    (decoded.states.square().sum() + decoded.boxes_cxcywh_rel.sum()).backward()
    assert [name for name, p in transformer.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []


def test_queries_without_a_position_are_refused():
    queries = Queries(content=torch.rand(1, 2, 4), reference=torch.rand(1, 2, 4))
    with pytest.raises(ValueError, match="LearnedPosition needs queries"):
        LearnedPosition()(queries, queries.reference)
