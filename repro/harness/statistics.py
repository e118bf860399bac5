"""What may be concluded from a few seeds: differences, equivalence, prediction, corrections. Numbers only, no words.

Four questions, four answers:

- *Do our runs differ from the printed ones?* Welch's difference from summaries (Welch 1947), where the paper prints
  mean, spread and runs. Where it prints one number, the interval is a prediction interval (how far may one more set of
  runs fall?) whose spread is pooled over the cells of a family: the spread of three seeds alone decides nothing.
- *Are they the same?* Two one-sided tests (Schuirmann 1987): the 90 % interval of the difference inside a margin.
  Not finding a difference is not the same as finding none, so the two questions stay apart.
- *How does a row compare with the baseline row?* Paired over seeds, where enough are shared: a seed also draws the
  share of the labels, so both rows meet the same luck.
- *How many cells of a table may differ by chance?* Holm 1979.

Two kinds of ± keep two names: a `Sample` is a spread over runs (seeds), `OverImages` one over images (bootstrap).

A spread printed by a paper is read as a sample standard deviation (divisor n − 1); papers rarely say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Outcome = Literal["equivalent", "above", "below", "open"]

PAIRED_FROM = 3
"""Shared seeds from which a difference between rows is paired. With two, one degree of freedom is left (t = 12.7)."""

MOST_SEEDS = 50
"""Where the search for a deciding number of seeds ends: beyond it, the answer is that seeds do not decide."""


@dataclass(frozen=True)
class Sample:
    """Summary over runs. ``std`` is None where it is not known: one run, or a number printed without a spread."""

    mean: float
    std: float | None
    n: int

    @property
    def spread_known(self) -> bool:
        return self.std is not None and self.n >= 2


@dataclass(frozen=True)
class Pool:
    """A standard deviation over runs shared by several cells, and the degrees of freedom behind it."""

    std: float
    df: int


@dataclass(frozen=True)
class Difference:
    """Ours minus a reference, with what is known of its error.

    Attributes:
        value: The difference of the means.
        se: Its standard error; infinite where no spread is known.
        df: Degrees of freedom of ``se``.
        half_unit: Half a unit of the reference's last printed digit, by which every interval is widened.
        method: How ``se`` was found: "Welch", "prediction", "paired", "one sample" or "no spread".
    """

    value: float
    se: float
    df: float
    half_unit: float = 0.0
    method: str = "Welch"

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided interval, widened by the reference's rounding; infinite where no spread is known."""
        reach = self.half_unit + (quantile(0.5 + confidence / 2, self.df) * self.se if self.se > 0 else 0.0)
        return self.value - reach, self.value + reach

    def p_value(self) -> float:
        """Two-sided probability of so large a difference by chance; below 0.05 when the 95 % interval excludes zero."""
        beyond = abs(self.value) - self.half_unit
        if beyond <= 0 or math.isinf(self.se):
            return 1.0
        if self.se == 0:
            return 0.0
        from scipy import stats

        return float(2 * stats.t.sf(beyond / self.se, self.df))

    def outcome(self, margin: float) -> Outcome:
        """Equivalent: 90 % interval inside ±margin. Above, below: 95 % interval excludes zero. Else open."""
        low, high = self.interval(0.90)
        if -margin <= low and high <= margin:
            return "equivalent"
        low, high = self.interval(0.95)
        return "above" if low > 0 else "below" if high < 0 else "open"


@dataclass(frozen=True)
class OverImages:
    """A score's spread over images, for one set of weights: what another draw of the test images would have given."""

    value: float
    std: float
    low: float
    high: float
    images: int


def quantile(probability: float, df: float) -> float:
    """Quantile of Student's t, the normal one for infinite ``df``."""
    from scipy import stats

    return float(stats.norm.ppf(probability) if math.isinf(df) else stats.t.ppf(probability, df))


def summarise(values: Iterable[float]) -> Sample:
    """Mean and sample standard deviation over runs.

    Raises:
        ValueError: There are no values.
    """
    numbers = np.asarray(list(values), dtype=float)
    if numbers.size == 0:
        raise ValueError("a summary needs at least one run")
    std = float(numbers.std(ddof=1)) if numbers.size > 1 else None
    return Sample(float(numbers.mean()), std, int(numbers.size))


def pool(samples: Iterable[Sample]) -> Pool | None:
    """One spread for a family of cells: variances averaged by degrees of freedom. None without two runs anywhere."""
    known = [(sample.std, sample.n - 1) for sample in samples if sample.std is not None and sample.n >= 2]
    if not known:
        return None
    df = sum(weight for _, weight in known)
    return Pool(math.sqrt(sum(weight * std * std for std, weight in known) / df), df)


def difference(ours: Sample, reference: Sample, spread: Pool | None = None, half_unit: float = 0.0) -> Difference:
    """Ours minus the reference, by the best means that the two summaries allow.

    Each side brings its own spread if it has one and the pooled one if not. Both own: Welch. Both pooled: a prediction
    interval on the pool's degrees of freedom. One of each: Satterthwaite's approximation, as in Welch's. When the
    reference is one number without spread, ours is pooled too: three seeds' own spread is too poor a basis.

    Args:
        ours: Our runs.
        reference: The printed or accepted summary; ``n`` is the number of runs behind its mean, 1 if not stated.
        spread: Standard deviation over runs pooled over the family.
        half_unit: Half a unit of the reference's last printed digit.
    """
    value = ours.mean - reference.mean
    sides = [(ours, ours.spread_known and reference.spread_known), (reference, reference.spread_known)]
    if spread is None and not all(known for _, known in sides):
        return Difference(value, math.inf, 1, half_unit, "no spread")
    if spread is not None and not any(known for _, known in sides):
        se = spread.std * math.sqrt(1 / ours.n + 1 / reference.n)
        return Difference(value, se, spread.df, half_unit, "prediction")
    terms = [_variance_of_mean(sample, None if known else spread) for sample, known in sides]
    total = sum(variance for variance, _ in terms)
    below = sum(variance * variance / df for variance, df in terms)
    df = total * total / below if below > 0 else math.inf
    method = "Welch" if all(known for _, known in sides) else "prediction"
    return Difference(value, math.sqrt(total), df, half_unit, method)


def between_rows(ours: Mapping[int, float], other: Mapping[int, float], spread: Pool | None = None) -> Difference:
    """Row minus row, seed by seed where at least `PAIRED_FROM` seeds are shared, else as two independent samples.

    The choice hangs on the seeds alone and never on the values, so it cannot be made in a result's favour. A paired
    difference is over the shared seeds only.

    Args:
        ours: Score by seed.
        other: Score by seed of the row that is subtracted.
        spread: Used where a row has one seed.
    """
    shared = sorted(set(ours) & set(other))
    if len(shared) < PAIRED_FROM:
        return difference(summarise(ours.values()), summarise(other.values()), spread)
    each = summarise(ours[seed] - other[seed] for seed in shared)
    assert each.std is not None
    return Difference(each.mean, each.std / math.sqrt(each.n), each.n - 1, method="paired")


def itself(ours: Sample, spread: Pool | None = None) -> Difference:
    """Our mean with its error, as a difference to an exact zero: for claims that bound a number."""
    if not ours.spread_known and spread is None:
        return Difference(ours.mean, math.inf, 1, method="no spread")
    variance, df = _variance_of_mean(ours, None if ours.spread_known else spread)
    return Difference(ours.mean, math.sqrt(variance), df, method="one sample")


def margin(tolerance: float, reference: Sample, spread: Pool | None = None) -> float:
    """The tolerance, or two standard errors of the reference's own mean when they are larger.

    The errors are the reference's and not those of the difference: a margin that grew with our own noise would call
    anything equivalent that was measured badly enough.
    """
    std = reference.std if reference.spread_known else spread.std if spread is not None else None
    return max(tolerance, 2 * std / math.sqrt(reference.n)) if std is not None else tolerance


def further_seeds(
    ours: Sample, reference: Sample, tolerance: float, spread: Pool | None = None, half_unit: float = 0.0
) -> int | None:
    """How many more runs would decide, if mean and spread stay as they are; None if `MOST_SEEDS` would not."""
    std = ours.std if ours.std is not None else spread.std if spread is not None else None
    if std is None:
        return None
    room = margin(tolerance, reference, spread)
    for n in range(ours.n + 1, MOST_SEEDS + 1):
        further = difference(Sample(ours.mean, std, n), reference, spread, half_unit)
        if further.outcome(room) != "open":
            return n - ours.n
    return None


def prediction_band(
    accepted: Sample, n: int, spread: Pool | None = None, floor: float = 0.0, confidence: float = 0.99
) -> tuple[float, float]:
    """Where the mean of ``n`` new runs should fall, given accepted runs of the same thing.

    Two or three accepted runs may agree by luck, so the spread used is the larger of the cell's own and the family's,
    and the family's degrees of freedom count. Without any spread the floor is the band.

    Args:
        accepted: Mean, spread and count of the accepted runs.
        n: Number of new runs.
        spread: Pooled over the accepted cells of the family.
        floor: Least half-width, in the metric's unit: other processors round differently.
        confidence: Share of healthy results inside; 0.99, since a nightly test asks every night.
    """
    candidates = [(accepted.std, accepted.n - 1)] if accepted.std is not None and accepted.n >= 2 else []
    candidates += [(spread.std, spread.df)] if spread is not None else []
    reach = floor
    if candidates:
        std, df = max(std for std, _ in candidates), max(df for _, df in candidates)
        reach = max(floor, quantile(0.5 + confidence / 2, df) * std * math.sqrt(1 / accepted.n + 1 / n))
    return accepted.mean - reach, accepted.mean + reach


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the order given: compare each with 0.05 as usual."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = largest
    return corrected


def bootstrap_over_images(
    statistic: Callable[..., float],
    *per_image: NDArray[Any],
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> OverImages:
    """Percentile bootstrap over images: one set of weights, other test images. Says nothing of other seeds.

    Several arrays are resampled together, so a difference between two detectors on the same images is paired.

    Args:
        statistic: Takes as many arrays as are given, resampled along their first axis, and returns a score.
        *per_image: Arrays whose first axis runs over the same images.
        draws: Number of resamples.
        seed: Of the resampling.
        confidence: Of the interval.

    Raises:
        ValueError: There are no arrays, or they disagree on the number of images.
    """
    lengths = {len(array) for array in per_image}
    if len(lengths) != 1:
        raise ValueError(f"arrays over the same images need one length, got {sorted(lengths)}")
    images = lengths.pop()
    rng = np.random.default_rng(seed)
    picks = (rng.integers(0, images, images) for _ in range(draws))
    scores = np.array([statistic(*(array[pick] for array in per_image)) for pick in picks])
    low, high = np.quantile(scores, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return OverImages(float(statistic(*per_image)), float(scores.std(ddof=1)), float(low), float(high), images)


def _variance_of_mean(sample: Sample, spread: Pool | None) -> tuple[float, float]:
    """Variance of a mean and its degrees of freedom: from the pool if one is given, else from the sample's own std."""
    if spread is not None:
        return spread.std**2 / sample.n, float(spread.df)
    assert sample.std is not None
    return sample.std**2 / sample.n, float(sample.n - 1)
