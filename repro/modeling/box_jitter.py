"""Box jittering: how reliable a pseudo box is for regression (Xu et al. 2021, Section 3.3).

A box is moved a little several times, the teacher refines each of the results, and the spread of what it answers
measures how well it knows where the object ends. What the paper calls variance is a standard deviation in units of the
box (Eq. 8 and 9).

Paper and released code differ twice, and both are here: jitter that is normal (:class:`NormalNoise`, released) or
uniform (:class:`UniformNoise`, the paper's supplement); and a spread in units of the refined box's own sides
(:func:`refined_sides`, released) or of half the sum of the pseudo box's (:func:`mean_side`, Eq. 9).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from repro.errors import RecipeError, did_you_mean


class NormalNoise:
    """Offsets with a standard deviation of ``scale`` sides."""

    def __init__(self, scale: float = 0.06) -> None:
        self.scale = scale

    def __call__(self, sides: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
        """An offset for each coordinate, given the side that it moves along."""
        return torch.randn_like(sides) * self.scale * sides


class UniformNoise:
    """Offsets of at most ``scale`` sides, all equally likely."""

    def __init__(self, scale: float = 0.06) -> None:
        self.scale = scale

    def __call__(self, sides: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
        """An offset for each coordinate, given the side that it moves along."""
        return (2 * torch.rand_like(sides) - 1) * self.scale * sides


def sides_of(boxes_xyxy_abs: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Width, height, width, height, at least a pixel each: the side that each coordinate of a box moves along."""
    width_height = (boxes_xyxy_abs[..., 2:] - boxes_xyxy_abs[..., :2]).clamp(min=1)
    return torch.cat([width_height, width_height], dim=-1)


def refined_sides(boxes_xyxy_abs: Float[Tensor, "N 4"], refined: Float[Tensor, "J N 4"]) -> Float[Tensor, "N 4"]:
    """Released code: each coordinate in units of its side of the mean refined box."""
    return sides_of(refined.mean(0))


def mean_side(boxes_xyxy_abs: Float[Tensor, "N 4"], refined: Float[Tensor, "J N 4"]) -> Float[Tensor, "N 4"]:
    """Eq. 9: all coordinates in units of ½ (h + w) of the pseudo box."""
    return sides_of(boxes_xyxy_abs).mean(-1, keepdim=True).expand(-1, 4)


UNITS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"refined_sides": refined_sides, "mean_side": mean_side}


class BoxJitter:
    """Measures the box regression variance of pseudo boxes.

    Args:
        num_jitters: how often each box is moved, N_jitter.
        noise: how far; default :class:`NormalNoise`.
        unit: what the spread is divided by, a name in `UNITS`.

    Raises:
        RecipeError: there is no such unit, or a spread of fewer than two boxes is asked for.
    """

    def __init__(
        self, num_jitters: int = 10, noise: Callable[[Tensor], Tensor] | None = None, unit: str = "refined_sides"
    ) -> None:
        if unit not in UNITS:
            raise RecipeError(f"There is no unit {unit!r} of box jittering. {did_you_mean(unit, UNITS)}")
        if num_jitters < 2:
            raise RecipeError(f"num_jitters is {num_jitters}; the spread of fewer than 2 boxes is not defined")
        self.num_jitters, self.noise, self.unit = num_jitters, noise or NormalNoise(), UNITS[unit]

    def jitter(self, boxes_xyxy_abs: Float[Tensor, "N 4"]) -> Float[Tensor, "J N 4"]:
        """Every box moved ``num_jitters`` times, each coordinate on its own; not clipped to the image."""
        boxes = boxes_xyxy_abs.expand(self.num_jitters, -1, -1)
        return boxes + self.noise(sides_of(boxes))

    def variance(self, boxes_xyxy_abs: Float[Tensor, "N 4"], refined: Float[Tensor, "J N 4"]) -> Float[Tensor, " N"]:
        """Eq. 8: the mean over the four coordinates of the standard deviation (unbiased) in units of the box."""
        squares = (refined - refined.mean(0)).square().sum(0)
        deviation = (squares / (self.num_jitters - 1)).sqrt()  # torch's own std refuses to work on no box at all
        return (deviation / self.unit(boxes_xyxy_abs, refined)).mean(-1)
