import torch

from repro.modeling.transformer.memory import flatten


def test_levels_lie_one_after_another_row_by_row():
    fine, coarse = torch.arange(6.0).view(1, 1, 2, 3), torch.tensor([10.0, 20]).view(1, 1, 1, 2)
    memory = flatten([fine, coarse], None)
    assert memory.tokens.flatten().tolist() == [0, 1, 2, 3, 4, 5, 10, 20]
    assert memory.spatial_shapes == ((2, 3), (1, 2)) and memory.level_start_index == [0, 6]
    assert memory.padding_mask is None
    assert memory.valid_ratios.tolist() == [[[1, 1], [1, 1]]]


def test_padding_in_pixels_becomes_padding_of_levels():
    """Of 8 × 12 pixels the first image fills all, the second 4 × 6; the level has 4 × 6 positions."""
    mask = torch.zeros(2, 8, 12, dtype=torch.bool)
    mask[1, 4:], mask[1, :, 6:] = True, True
    memory = flatten([torch.rand(2, 5, 4, 6)], mask)
    assert memory.valid_sizes.tolist() == [[[4, 6]], [[2, 3]]]
    assert memory.valid_ratios.tolist() == [[[1, 1]], [[0.5, 0.5]]]
    assert memory.padding_mask[0].sum() == 0
    expected = torch.ones(4, 6, dtype=torch.bool)
    expected[:2, :3] = False
    assert torch.equal(memory.padding_mask[1].view(4, 6), expected)


def test_positions_are_never_in_half_precision():
    memory = flatten([torch.rand(1, 4, 3, 3).bfloat16()], torch.zeros(1, 6, 6, dtype=torch.bool))
    assert memory.tokens.dtype == torch.bfloat16 and memory.valid_sizes.dtype == torch.float32
