"""Boxes from one view of an image to another, by the matrices that each view keeps.

A matrix maps homogeneous pixel coordinates (x, y, 1) of the original image to those of a view (3×3, float64). A box
goes over by its four corners, of which the axis-aligned hull is taken: rotation and shear make boxes larger.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor


def between(source: Float64[Tensor, "3 3"], target: Float64[Tensor, "3 3"]) -> Float64[Tensor, "3 3"]:
    """The matrix from one view to another: back to the original image, and from there on."""
    return target @ torch.linalg.inv(source)


def project_boxes(
    boxes_xyxy_abs: Float[Tensor, "N 4"], matrix: Float64[Tensor, "3 3"], size: tuple[int, int]
) -> Float[Tensor, "N 4"]:
    """Boxes in the other view, clipped to its ``size`` (height, width); of what lies beside it, no area is left."""
    corners = boxes_xyxy_abs[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2)
    matrix = matrix.to(boxes_xyxy_abs)
    moved = corners @ matrix[:2, :2].T + matrix[:2, 2]
    scale = corners @ matrix[2:, :2].T + matrix[2:, 2:]  # 1 throughout, unless a view has perspective
    moved = moved / scale
    hull = torch.cat([moved.amin(1), moved.amax(1)], dim=1)
    height, width = size
    return torch.minimum(hull.clamp(min=0), hull.new_tensor([width, height, width, height]))


def warp(
    planes: Bool[Tensor, "P H W"], matrix: Float64[Tensor, "3 3"], size: tuple[int, int]
) -> Bool[Tensor, "P _h _w"]:
    """Masks in the other view, of ``size`` (height, width), by the nearest pixel; false beside their own view."""
    height, width = size
    back = torch.linalg.inv(matrix).to(planes.device, torch.float32)
    y, x = torch.meshgrid(*(torch.arange(side, device=planes.device) + 0.5 for side in (height, width)), indexing="ij")
    source = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ back.T
    column, row = (source[..., :2] / source[..., 2:]).floor().long().unbind(-1)
    inside = (column >= 0) & (column < planes.shape[2]) & (row >= 0) & (row < planes.shape[1])
    return planes[:, row.clamp(0, planes.shape[1] - 1), column.clamp(0, planes.shape[2] - 1)] & inside
