"""Which labelled and unlabelled images stand together in a batch: a pure function of (seed, iteration).

Soft Teacher (Xu et al. 2021; the authors' code, `semi_sampler.py`) fills the images of a GPU one by one, each with a
labelled one with probability 1/5 (or 1/2), and sees to it that there is at least one of each kind; all of them are
either wide or not, so that little is padded. Here what a GPU held is a *share* of the batch, and its size a setting of
the recipe: a batch is the same on any number of processes, each of which takes the same number of shares.

    kinds    `share_size` draws with the chance of a labelled image, at least one and at most all but one; or exactly
             the ratio. The mean of labelled images is 1.327 of 5 at 1 : 4, and 4 of 8 at 1 : 1.
    shapes   within `BLOCK` iterations the shares of wide images are as many as such images, of both kinds together,
             are of all, and are strewn at random.
    images   of one kind and shape they follow a permutation until all were seen, then the next one.

How an iteration far on is found without going through those before it: only numbers have to be known, how many shares
of each shape and how many labelled images in them came before. They are drawn for `BLOCK` iterations at a time, in one
array, and only their sums are kept; 720,000 iterations of eight shares take a fraction of a second. The order of images
is then a matter of dividing: the n-th image of a kind and shape stands in permutation n // N at place n % N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from repro.errors import DataError

BLOCK = 7330  # iterations; the published code's epoch
LABELLED, UNLABELLED = 0, 1
MIX, MIXED_ORDER = 3, 4  # streams of random numbers, beside those of `repro.data.loader`


@dataclass(frozen=True)
class Mix:
    """How a batch is made up.

    Attributes:
        total_batch_size: Images over all processes, of both kinds.
        share_size: Images that are chosen together: those of one GPU in the published settings.
        ratio: Labelled to unlabelled images.
        by_probability: Draw each image's kind, instead of having exactly this ratio in each share.
        aspect_groups: Keep wide images and others apart.
    """

    total_batch_size: int
    share_size: int
    ratio: tuple[int, int] = (1, 4)
    by_probability: bool = True
    aspect_groups: bool = True

    def __post_init__(self) -> None:
        if self.share_size < 2 or self.total_batch_size % self.share_size or self.total_batch_size < 1:
            raise DataError(
                f"data: a total batch of {self.total_batch_size} images does not consist of shares of "
                f"{self.share_size} (at least 2, one image of each kind)"
            )
        if len(self.ratio) != 2 or min(self.ratio) < 1:
            raise DataError(f"data.ratio: labelled to unlabelled images are two numbers from 1, not {self.ratio}")
        if not self.by_probability and self.share_size * self.ratio[0] % sum(self.ratio):
            raise DataError(
                f"data: {self.share_size} images cannot be exactly {self.ratio[0]} : {self.ratio[1]}; take another "
                "share_size, or set by_probability"
            )

    @property
    def shares(self) -> int:
        """Shares in a batch."""
        return self.total_batch_size // self.share_size


class Place(NamedTuple):
    """An image's place in the order of a training."""

    source: int
    """`LABELLED` or `UNLABELLED`."""
    index: int
    """Its position among the images of its source."""
    epoch: int
    """How often it was seen before."""


class MixedOrder:
    """The order of a training.

    Args:
        wide: For each image, whether it is wider than high; of the labelled and of the unlabelled ones.
        mix: How a batch is made up.
        seed: The run's seed.

    Raises:
        DataError: There is no image of one kind.
    """

    def __init__(self, wide: tuple[Sequence[bool], Sequence[bool]], mix: Mix, seed: int) -> None:
        self.mix, self.seed = mix, seed
        shapes = [np.asarray(of_source, dtype=bool) for of_source in wide]
        for name, of_source in zip(("labelled", "unlabelled"), shapes, strict=True):
            if not len(of_source):
                raise DataError(f"there is no {name} image to train on")
        # A shape that only one of the sources has could not be put together.
        if not mix.aspect_groups or any(of_source.all() or not of_source.any() for of_source in shapes):
            shapes = [np.zeros_like(of_source) for of_source in shapes]
        self.members = [[np.flatnonzero(of_source == shape) for shape in (False, True)] for of_source in shapes]
        sizes = np.array([[len(group) for group in groups] for groups in self.members])
        self.wide_share = float(sizes[:, 1].sum() / sizes.sum())
        self.starts = [np.zeros((2, 2), dtype=np.int64)]
        self._kept: tuple[int, _Block] | None = None

    def batch(self, iteration: int) -> list[list[Place]]:
        """The shares of a batch."""
        number, position = divmod(iteration, BLOCK)
        block, start = self._block(number), self._start(number)
        return [self._share(block, start, position * self.mix.shares + share) for share in range(self.mix.shares)]

    def _share(self, block: _Block, start: np.ndarray, number: int) -> list[Place]:
        shape, labelled = int(block.wide[number]), int(block.labelled[number])
        places = []
        for source, count in ((LABELLED, labelled), (UNLABELLED, self.mix.share_size - labelled)):
            first = int(start[source, shape] + block.before[number, source])
            places += [self._place(source, shape, first + step) for step in range(count)]
        return places

    def _place(self, source: int, shape: int, position: int) -> Place:
        group = self.members[source][shape]
        epoch, place = divmod(position, len(group))
        order = permutation(len(group), self.seed, source, shape, epoch)
        return Place(source, int(group[order[place]]), epoch)

    def _start(self, number: int) -> np.ndarray:
        """Images of each source and shape that stand before a block."""
        while len(self.starts) <= number:
            block = self._block(len(self.starts) - 1)
            self.starts.append(self.starts[-1] + block.total)
        return self.starts[number]

    def _block(self, number: int) -> _Block:
        if self._kept is None or self._kept[0] != number:
            self._kept = number, _Block.draw(number, self.mix, self.wide_share, self.seed)
        return self._kept[1]


class _Block(NamedTuple):
    """`BLOCK` iterations: of each share its shape, its labelled images, and what of its shape comes before it."""

    wide: np.ndarray
    labelled: np.ndarray
    before: np.ndarray
    total: np.ndarray

    @classmethod
    def draw(cls, number: int, mix: Mix, wide_share: float, seed: int) -> _Block:
        rng = np.random.default_rng([MIX, seed, number])
        shares = BLOCK * mix.shares
        wide = rng.permutation(np.arange(shares) < round(shares * wide_share))
        chance = mix.ratio[0] / sum(mix.ratio)
        if mix.by_probability:
            hits = rng.random((shares, mix.share_size)) < chance
            labelled = hits.sum(1).clip(1, mix.share_size - 1)
        else:
            labelled = np.full(shares, mix.share_size * mix.ratio[0] // sum(mix.ratio))
        counts = np.stack([labelled, mix.share_size - labelled], axis=1)
        before, total = np.empty_like(counts), np.zeros((2, 2), dtype=np.int64)
        for shape in (0, 1):
            own = counts[wide == shape]
            before[wide == shape] = own.cumsum(0) - own
            total[:, shape] = own.sum(0)
        return cls(wide, labelled, before, total)


@lru_cache(maxsize=8)
def permutation(images: int, seed: int, source: int, shape: int, epoch: int) -> np.ndarray:
    """The order in which images of a source and shape are seen for the (epoch + 1)-th time."""
    return np.random.default_rng([MIXED_ORDER, seed, source, shape, epoch]).permutation(images)
