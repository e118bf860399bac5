"""The soft teacher: reliability of background boxes as weights of their classification loss (Xu et al. 2021, Sec. 3.2).

`INDICATORS` are those of Table 7. What becomes of the weighted terms differs between the released code, which takes one
weighted mean over all boxes, and Eq. 4, 5 and 10, which give foreground and background of each image the same mass and
divide regression by the foreground boxes; the first author says that the equations are not what was run. They are
:class:`PooledLosses` and :class:`PerImageLosses`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from repro.errors import RecipeError, did_you_mean


class Evidence(NamedTuple):
    """What is known of R boxes of a student."""

    teacher_background: Float[Tensor, " R"]
    """The teacher's probability of background."""
    student_background: Float[Tensor, " R"]
    """The student's, without gradient."""
    overlap: Float[Tensor, " R"]
    """The largest IoU with a pseudo box of the image, 0 where there is none."""


INDICATORS: dict[str, Callable[[Evidence], Float[Tensor, " R"]]] = {
    "none": lambda found: torch.ones_like(found.overlap),
    "BG-T": lambda found: found.teacher_background,
    "BG-S": lambda found: found.student_background,
    "Pred-Diff": lambda found: 1 - (found.student_background - found.teacher_background).abs(),  # Eq. 6
    "IoU": lambda found: found.overlap,  # the paper has no formula for this and the next; ours, from its words
    "Reverse-IoU": lambda found: 1 - found.overlap,
}
"""Name in Table 7 to the reliability r of a box as background."""


def indicator(name: str) -> Callable[[Evidence], Float[Tensor, " R"]]:
    """The indicator of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in INDICATORS:
        raise RecipeError(f"There is no indicator {name!r}. {did_you_mean(name, INDICATORS)}")
    return INDICATORS[name]


class PooledLosses:
    """The released code: means over the boxes of all images of a process."""

    def classification(
        self,
        losses: Sequence[Float[Tensor, ...]],
        reliability: Sequence[Float[Tensor, ...]],
        foreground: Sequence[Bool[Tensor, ...]],
    ) -> Float[Tensor, ""]:
        """One entry an image. A foreground box weighs 1, a background box its reliability: Σ w·l / max(Σ w, 1)."""
        weights = torch.where(torch.cat(list(foreground)), 1.0, torch.cat(list(reliability)))
        return (weights * torch.cat(list(losses))).sum() / weights.sum().clamp(min=1)

    def regression(
        self, sums: Float[Tensor, " B"], foreground: Float[Tensor, " B"], sampled: Float[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """Each image's sum over its foreground boxes; divided by all sampled boxes."""
        return sums.sum() / sampled.sum().clamp(min=1)


class PerImageLosses:
    """Eq. 3, 4, 5 and 10: means over the images, within which foreground and background count alike."""

    def classification(
        self,
        losses: Sequence[Float[Tensor, ...]],
        reliability: Sequence[Float[Tensor, ...]],
        foreground: Sequence[Bool[Tensor, ...]],
    ) -> Float[Tensor, ""]:
        """One entry an image: the mean over its foreground, and that over its background weighted by reliability."""
        terms = []
        for loss, r, positive in zip(losses, reliability, foreground, strict=True):
            tiny = torch.finfo(loss.dtype).tiny
            front = torch.where(positive, loss, 0.0).sum() / positive.sum().clamp(min=1)
            r = torch.where(positive, 0.0, r)
            terms.append(front + (r * loss).sum() / r.sum().clamp(min=tiny))
        return torch.stack(terms).mean()

    def regression(
        self, sums: Float[Tensor, " B"], foreground: Float[Tensor, " B"], sampled: Float[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """Each image's sum over its foreground boxes; divided by how many these are."""
        return (sums / foreground.clamp(min=1)).mean()
