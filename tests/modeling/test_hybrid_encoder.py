import pytest
import torch

from repro.modeling.hybrid_encoder import HybridEncoder, grid_position

FEATURES = ["res3", "res4", "res5"]


def encoder(**settings):
    torch.manual_seed(0)
    return HybridEncoder(FEATURES, [4, 6, 8], embed_dim=16, num_heads=2, ffn_dim=24, **settings).eval()


def maps(*sizes):
    return {name: torch.rand(1, c, *size) for name, c, size in zip(FEATURES, [4, 6, 8], sizes, strict=True)}


def test_positions_by_hand():
    """Tokens 1 and 20 of a map of 20 × 20: one column on, one row down."""
    position = grid_position(20, 20, 256)
    assert position.shape == (400, 256)
    sine_row, cosine_row, sine_column, cosine_column = position[1].split(64)
    assert sine_row.tolist() == [0] * 64 and cosine_row.tolist() == [1] * 64
    assert sine_column[:3].tolist() == pytest.approx([0.8415, 0.7617, 0.6816], abs=1e-4)
    torch.testing.assert_close(position[20], torch.cat([sine_column, cosine_column, sine_row, cosine_row]))


def test_positions_on_a_rectangle():
    """Row by row each token has its own place; as published, the map is numbered as if it lay column by column."""
    rows = grid_position(2, 3, 4)[:, [0, 2]]
    torch.testing.assert_close(rows, torch.tensor([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]).double().sin())
    published = grid_position(2, 3, 4, "published")[:, [0, 2]]
    expected = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]).double().sin()
    torch.testing.assert_close(published, expected)
    assert torch.equal(grid_position(4, 4, 8, "published"), grid_position(4, 4, 8))


def test_the_switch_changes_rectangles_only():
    rows, published = encoder(), encoder(positions="published")
    square, wide = maps((8, 8), (4, 4), (2, 2)), maps((8, 16), (4, 8), (2, 4))
    assert torch.equal(rows(square)[0], published(square)[0])
    assert not torch.equal(rows(wide)[0], published(wide)[0])


def test_every_map_reaches_every_map():
    """Down to the finest and up to the coarsest again; odd sizes too, as 80 × 144 pixels give."""
    model, features = encoder(), maps((10, 18), (5, 9), (3, 5))
    fused = model(features)
    assert [tuple(x.shape[1:]) for x in fused] == [(16, 10, 18), (16, 5, 9), (16, 3, 5)]
    for name in FEATURES:
        changed = model(features | {name: features[name] + 1})
        assert all(not torch.equal(a, b) for a, b in zip(fused, changed, strict=True))


def test_the_last_convolution_is_there_if_channels_differ():
    assert hasattr(encoder(expansion=0.5).fpn_blocks[0].conv3, "conv")
    assert not hasattr(encoder(expansion=1.0).fpn_blocks[0].conv3, "conv")


@torch.no_grad()
def test_fused_it_gives_the_same():
    model, features = encoder().double(), maps((8, 8), (4, 4), (2, 2))
    features = {name: value.double() for name, value in features.items()}
    expected, count = model(features), len(model.state_dict())
    model.fuse()
    assert len(model.state_dict()) < count
    for found, wanted in zip(model(features), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="3 maps, in_channels 2"):
        HybridEncoder(FEATURES, [4, 6])
    with pytest.raises(ValueError, match="rows, published"):
        encoder(positions="columns")
