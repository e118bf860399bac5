import math

import pytest
import torch

from repro.layers.position import SinePosition


@pytest.mark.parametrize(("centred", "row", "column"), [(True, 1.5 / 2, 0.5 / 3), (False, 2 / 2, 1 / 3)])
def test_by_hand(centred, row, column):
    """Row 1 of 2, column 0 of 3 in a map of 4 × 5; eight channels have two wavelengths an axis, 1 and 1/100."""
    encoding = SinePosition(8, centred=centred)(4, 5, torch.tensor([[2.0, 3.0]]))[0, 1, 0]
    expected = []
    for position in (row, column):
        angle = 2 * math.pi * position
        expected += [math.sin(angle), math.cos(angle), math.sin(angle / 100), math.cos(angle / 100)]
    assert encoding.tolist() == pytest.approx(expected, abs=1e-5)


def test_padding_does_not_change_the_encoding_inside():
    position = SinePosition(16)
    alone = position(6, 7, torch.tensor([[6.0, 7.0]]))
    padded = position(9, 11, torch.tensor([[6.0, 7.0]]))
    torch.testing.assert_close(padded[:, :6, :7], alone)
    assert padded.shape == (1, 9, 11, 16) and padded.isfinite().all()


def test_odd_channels_are_refused():
    with pytest.raises(ValueError, match="embed_dim is 10"):
        SinePosition(10)
