"""Boxes from one view of an image to another, by the matrices that each view keeps.

A matrix maps homogeneous pixel coordinates (x, y, 1) of the original image to those of a view (3×3, float64). A box
goes over by its four corners, of which the axis-aligned hull is taken: rotation and shear make boxes larger.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
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
