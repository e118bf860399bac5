import pytest
import torch

from repro.modeling.necks import ChannelMapper


def test_levels_beyond_the_backbones_maps():
    neck = ChannelMapper(["a", "b"], [4, 6], out_channels=8, num_levels=4, num_groups=2)
    levels = neck({"b": torch.rand(2, 6, 5, 7), "a": torch.rand(2, 4, 10, 14), "unused": torch.rand(1)})
    assert [tuple(level.shape[1:]) for level in levels] == [(8, 10, 14), (8, 5, 7), (8, 3, 4), (8, 2, 2)]
    # The first extra level reads the last map itself, the next one reads that level.
    assert [tuple(p[0].weight.shape) for p in neck.input_proj] == [
        (8, 4, 1, 1),
        (8, 6, 1, 1),
        (8, 6, 3, 3),
        (8, 8, 3, 3),
    ]


@pytest.mark.parametrize(("channels", "levels"), [([4], 3), ([4, 6], 1)])
def test_sizes_that_do_not_fit(channels, levels):
    with pytest.raises(ValueError, match="in_features"):
        ChannelMapper(["a", "b"], channels, out_channels=8, num_levels=levels, num_groups=2)
