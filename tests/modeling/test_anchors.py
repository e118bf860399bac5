"""Anchors of two views: the same place and the same size, by hand and against a search over all of them."""

import pytest
import torch

from repro.modeling.anchors import AnchorGrid, counterparts


def grid(cells, offset=0.0, sizes=(8.0, 16.0, 32.0), ratios=(0.5, 1.0, 2.0)):
    kinds = torch.tensor([[[(size**2 / r) ** 0.5, (size**2 * r) ** 0.5] for r in ratios] for size in sizes])
    return AnchorGrid([4, 8, 16][: len(sizes)], cells, kinds, offset)


def anchors(of):
    """Middle and size of each, R × 4."""
    found = []
    for level in range(len(of.cells)):
        middles = of.middles(level)
        count = of.kinds.shape[1]
        found.append(torch.cat([middles.repeat_interleave(count, 0), of.kinds[level].repeat(len(middles), 1)], dim=1))
    return torch.cat(found)


def matrix(rows):
    return torch.tensor(rows, dtype=torch.float64)


CELLS = [(6, 8), (3, 4), (2, 2)]


def test_the_same_view_has_the_same_anchors():
    one = grid(CELLS)
    assert torch.equal(counterparts(one, one, torch.eye(3).double()), torch.arange(len(anchors(one))))


def test_mirrored():
    """The middles are at 0, 4, … 28; in an image of width 28 the mirror image of one is another."""
    one = grid([(6, 8)], sizes=(8.0,))
    found = counterparts(one, one, matrix([[-1, 0, 28], [0, 1, 0], [0, 0, 1]]))
    expected = torch.arange(6 * 8 * 3).view(6, 8, 3).flip(1).flatten()
    assert torch.equal(found, expected)


def test_half_the_size_is_a_level_lower():
    one, other = grid([(6, 8), (4, 4), (2, 2)]), grid([(4, 4), (2, 2), (1, 1)])
    found = counterparts(one, other, matrix([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]]))
    second = found[6 * 8 * 3 : 6 * 8 * 3 + 4 * 4 * 3]  # size 16 becomes 8: the first level, whose cells are as close
    assert torch.equal(second, torch.arange(4 * 4 * 3))
    third = found[-2 * 2 * 3 :]
    assert torch.equal(third, 4 * 4 * 3 + torch.arange(2 * 2 * 3))


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_against_a_search_over_all(offset):
    """Of the kinds with the nearest sides, the anchor whose middle is nearest."""
    generator = torch.Generator().manual_seed(0)
    one, other = grid(CELLS, offset), grid([(8, 10), (4, 5), (2, 3)], offset)
    way = matrix([[1.3, 0.2, -2.0], [-0.1, 1.1, 3.0], [0, 0, 1]])
    way[:2, 2] += torch.rand(2, generator=generator).double()
    mine, theirs, found = anchors(one), anchors(other), counterparts(one, other, way)
    moved = mine[:, :2] @ way[:2, :2].T.float() + way[:2, 2].float()
    sides = mine[:, 2:] @ way[:2, :2].abs().T.float()
    shape = (sides.log()[:, None] - theirs[:, 2:].log()[None]).abs().sum(-1)
    nearest = shape <= shape.amin(1, keepdim=True) + 1e-5
    distance = torch.cdist(moved, theirs[:, :2]).masked_fill(~nearest, torch.inf)
    reached = distance.gather(1, found[:, None])[:, 0]
    torch.testing.assert_close(reached, distance.amin(1), rtol=1e-4, atol=1e-4)
