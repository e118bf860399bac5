"""Anchors in two views of an image: which one of the other view looks at the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor


class AnchorGrid(NamedTuple):
    """Anchors of an image, in Detectron2's order: by level, row, column, and kind within a cell."""

    strides: Sequence[int]
    """Pixels from cell to cell, of each level."""
    cells: Sequence[tuple[int, int]]
    """Rows and columns of each level."""
    kinds: Float[Tensor, "L A 2"]
    """Width and height of the anchors of a cell."""
    offset: float
    """Where in its cell an anchor's middle is, in strides."""

    def middles(self, level: int) -> Float[Tensor, "N 2"]:
        """(x, y) of the cells of a level, row by row."""
        rows, columns = self.cells[level]
        y = torch.arange(rows, device=self.kinds.device, dtype=self.kinds.dtype)
        x = torch.arange(columns, device=self.kinds.device, dtype=self.kinds.dtype)
        grid = torch.stack([x.repeat(rows), y.repeat_interleave(columns)], dim=1)
        return (grid + self.offset) * self.strides[level]

    @property
    def starts(self) -> list[int]:
        """Index of the first anchor of each level."""
        counts = [rows * columns * self.kinds.shape[1] for rows, columns in self.cells]
        return [sum(counts[:level]) for level in range(len(counts))]


def counterparts(source: AnchorGrid, target: AnchorGrid, matrix: Float64[Tensor, "3 3"]) -> Int64[Tensor, " R"]:
    """For each anchor of the one view the most alike of the other: of the nearest shape, and there the nearest.

    Args:
        source: the one view.
        target: the other one.
        matrix: from pixels of the one to those of the other, without perspective. What lies beside the other view finds
            its counterpart at the border.
    """
    matrix = matrix.to(source.kinds)
    kind = _nearest_kinds(source.kinds @ matrix[:2, :2].abs().T, target.kinds)  # an affine map's hull
    level, within = kind // target.kinds.shape[1], kind % target.kinds.shape[1]
    device = source.kinds.device
    strides, starts = (torch.tensor(values, device=device) for values in (list(target.strides), target.starts))
    limits = torch.tensor([(columns - 1, rows - 1) for rows, columns in target.cells], device=device)
    found = []
    for index in range(len(source.cells)):
        middles = source.middles(index) @ matrix[:2, :2].T + matrix[:2, 2]
        there = level[index]  # of each kind
        cell = (middles[:, None] / strides[there][:, None] - target.offset).round().long()
        cell = torch.minimum(cell.clamp(min=0), limits[there])
        place = cell[..., 1] * (limits[there, 0] + 1) + cell[..., 0]
        found.append((starts[there] + place * target.kinds.shape[1] + within[index]).flatten())
    return torch.cat(found)


def _nearest_kinds(sizes: Float[Tensor, "L A 2"], kinds: Float[Tensor, "M B 2"]) -> Int64[Tensor, "L A"]:
    """Index over all levels' kinds of the one whose sides have the nearest ratio to these."""
    distance = torch.cdist(sizes.flatten(0, 1).log(), kinds.flatten(0, 1).log(), p=1)
    return distance.argmin(1).view(sizes.shape[:2])
