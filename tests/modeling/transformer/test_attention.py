import pytest
import torch

from repro.modeling.transformer.attention import MultiScaleDeformableAttention
from repro.modeling.transformer.memory import flatten


def test_initial_offsets_point_in_all_directions_at_growing_distances():
    attention = MultiScaleDeformableAttention(8, num_heads=4, num_levels=2, num_points=[2, 1])
    offsets = attention.sampling_offsets.bias.detach().view(4, 3, 2)
    directions = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    for point, distance in enumerate([1, 2, 1]):
        torch.testing.assert_close(offsets[:, point], directions * distance, atol=1e-6, rtol=0)
    assert attention.sampling_offsets.weight.abs().sum() == 0
    assert attention.attention_weights.weight.abs().sum() == 0


def reading(memory, reference):
    """What one head with one point and an offset of (1, 2) reads from the values themselves."""
    attention = MultiScaleDeformableAttention(4, num_heads=1, num_levels=1, num_points=1)
    with torch.no_grad():
        for projection in (attention.value_proj, attention.output_proj):
            projection.weight.copy_(torch.eye(4))
            projection.bias.zero_()
        attention.sampling_offsets.bias.copy_(torch.tensor([1.0, 2.0]))
        return attention(torch.zeros(1, 1, 4), reference, memory)[0, 0, 0].item()


MAP = torch.arange(30.0).view(1, 1, 5, 6).expand(1, 4, 5, 6)  # row · 6 + column


def test_offsets_from_points_are_in_pixels():
    reference = torch.tensor([2.5 / 6, 1.5 / 5]).view(1, 1, 1, 2)  # the centre of row 1, column 2
    assert reading(flatten([MAP], None), reference) == pytest.approx(3 * 6 + 3, abs=1e-4)


def test_offsets_from_boxes_are_in_half_sizes():
    reference = torch.tensor([2.5 / 6, 1.5 / 5, 2 / 6, 1 / 5]).view(1, 1, 1, 4)  # half sizes: one column, half a row
    assert reading(flatten([MAP], None), reference) == pytest.approx(2 * 6 + 3, abs=1e-4)


def test_padding_is_read_as_zero():
    mask = torch.zeros(1, 5, 6, dtype=torch.bool)
    mask[:, 3:] = True
    reference = torch.tensor([2.5 / 6, 1.5 / 5]).view(1, 1, 1, 2)
    assert reading(flatten([MAP], mask), reference) == 0


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="embed_dim 6"):
        MultiScaleDeformableAttention(6, num_heads=4)
    with pytest.raises(ValueError, match="num_points is"):
        MultiScaleDeformableAttention(8, num_heads=4, num_levels=3, num_points=[1, 2])
