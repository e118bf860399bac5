"""Intervals, tests and bands: against scipy, hand-worked cases, and simulated runs whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from repro.harness.statistics import (
    Pool,
    Sample,
    between_rows,
    bootstrap_over_images,
    difference,
    further_seeds,
    holm,
    margin,
    pool,
    prediction_band,
    quantile,
    summarise,
)


def test_welch_agrees_with_scipy_from_the_same_summaries() -> None:
    found = difference(Sample(14.1, 0.45, 3), Sample(14.58, 0.3, 5))
    expected = stats.ttest_ind_from_stats(14.1, 0.45, 3, 14.58, 0.3, 5, equal_var=False)
    assert found.method == "Welch"
    assert found.p_value() == pytest.approx(expected.pvalue, rel=1e-12)
    assert found.value / found.se == pytest.approx(expected.statistic, rel=1e-12)


def test_welch_interval_agrees_with_scipy_from_the_same_runs() -> None:
    ours, paper = [14.2, 13.9, 14.6, 14.1], [14.5, 14.9, 14.7]
    expected = stats.ttest_ind(ours, paper, equal_var=False).confidence_interval(0.9)
    assert difference(summarise(ours), summarise(paper)).interval(0.9) == pytest.approx((expected.low, expected.high))


def test_welch_degrees_of_freedom_worked_by_hand() -> None:
    """s² / n is 0.04 / 4 = 0.01 and 0.09 / 3 = 0.03; (0.04)² / (0.01² / 3 + 0.03² / 2) = 0.0016 / 0.000483… = 3.31."""
    found = difference(Sample(10, 0.2, 4), Sample(10, 0.3, 3))
    assert found.se == pytest.approx(0.2)
    assert found.df == pytest.approx(0.0016 / (0.0001 / 3 + 0.0009 / 2))


@pytest.mark.parametrize(("n", "own", "pooled"), [(3, 0.99, 0.45), (5, 0.61, 0.43)])
def test_a_pooled_spread_halves_what_three_seeds_alone_can_say(n: int, own: float, pooled: float) -> None:
    """A printed number without spread, true standard deviation 0.2 AP."""
    few = difference(Sample(30, 0.2, n), Sample(30, None, 1), Pool(0.2, n - 1))
    many = difference(Sample(30, 0.2, n), Sample(30, None, 1), Pool(0.2, 100_000))
    assert few.method == many.method == "prediction"
    assert few.interval()[1] == pytest.approx(own, abs=0.005)
    assert many.interval()[1] == pytest.approx(pooled, abs=0.005)


def test_half_a_unit_of_the_last_printed_digit_widens_both_sides() -> None:
    exact = difference(Sample(10, 0.2, 4), Sample(9, 0.3, 5)).interval()
    printed = difference(Sample(10, 0.2, 4), Sample(9, 0.3, 5), half_unit=0.05).interval()
    assert printed == pytest.approx((exact[0] - 0.05, exact[1] + 0.05))


def test_a_single_run_borrows_the_pooled_spread() -> None:
    found = difference(Sample(10, None, 1), Sample(9, 0.3, 5), Pool(0.4, 6))
    variance, printed = 0.16, 0.09 / 5
    assert found.se == pytest.approx(math.sqrt(variance + printed))
    assert found.df == pytest.approx((variance + printed) ** 2 / (variance**2 / 6 + printed**2 / 4))


def test_without_any_spread_nothing_is_concluded() -> None:
    found = difference(Sample(20, None, 1), Sample(9, None, 1))
    assert found.interval() == (-math.inf, math.inf)
    assert found.outcome(0.5) == "open"
    assert found.p_value() == 1.0


def test_equal_runs_have_an_interval_of_no_width() -> None:
    found = difference(Sample(0.0, 0.0, 3), Sample(0.0, 0.0, 3), half_unit=0.005)
    assert found.interval() == (-0.005, 0.005)
    assert found.outcome(0.1) == "equivalent"
    assert found.p_value() == 1.0
    assert difference(Sample(1.0, 0.0, 3), Sample(0.0, 0.0, 3)).p_value() == 0.0


def test_the_interval_excludes_zero_exactly_when_p_is_below_five_percent() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        found = difference(
            Sample(rng.normal(10, 1), rng.uniform(0.1, 1), int(rng.integers(2, 6))),
            Sample(rng.normal(10, 1), rng.uniform(0.1, 1), int(rng.integers(2, 6))),
            half_unit=0.05,
        )
        low, high = found.interval(0.95)
        assert (low > 0 or high < 0) == (found.p_value() < 0.05)


def test_pool_weighs_variances_by_degrees_of_freedom() -> None:
    found = pool([Sample(1, 0.3, 5), Sample(2, 0.6, 3), Sample(3, None, 1)])
    assert found is not None
    assert found.df == 6
    assert found.std == pytest.approx(math.sqrt((4 * 0.09 + 2 * 0.36) / 6))
    assert pool([Sample(3, None, 1)]) is None


def test_margin_is_the_tolerance_until_the_reference_is_vaguer() -> None:
    assert margin(0.5, Sample(10, 0.4, 5)) == 0.5
    assert margin(0.1, Sample(10, 0.4, 4)) == pytest.approx(0.4)
    assert margin(0.1, Sample(10, None, 1), Pool(0.3, 8)) == pytest.approx(0.6)
    assert margin(0.1, Sample(10, None, 1)) == 0.1


def test_rows_are_paired_from_three_shared_seeds() -> None:
    """The rows move together by 10 AP; only pairing sees the constant 1 between them."""
    ours, other = {0: 11.0, 1: 21.1, 2: 30.9}, {0: 10.0, 1: 20.0, 2: 30.0}
    found = between_rows(ours, other)
    expected = stats.ttest_rel(list(ours.values()), list(other.values()))
    assert found.method == "paired"
    assert found.value == pytest.approx(1.0)
    assert found.p_value() == pytest.approx(expected.pvalue)
    apart = between_rows({seed + 10: value for seed, value in ours.items()}, other)
    assert apart.method == "Welch"
    assert apart.value == pytest.approx(1.0)
    assert apart.outcome(0) == "open"


def test_further_seeds_is_the_first_count_that_decides() -> None:
    ours, paper = Sample(14.1, 0.3, 3), Sample(14.58, 0.3, 5)
    assert difference(ours, paper).outcome(0.5) == "open"
    further = further_seeds(ours, paper, 0.5)
    assert further is not None and further > 0
    assert difference(Sample(14.1, 0.3, 3 + further), paper).outcome(0.5) != "open"
    assert difference(Sample(14.1, 0.3, 3 + further - 1), paper).outcome(0.5) == "open"


def test_further_seeds_is_none_when_the_reference_itself_is_too_vague() -> None:
    assert further_seeds(Sample(14.4, 0.3, 3), Sample(14.0, 0.9, 3), 0.5) is None
    assert further_seeds(Sample(14.4, None, 1), Sample(14.0, None, 1), 0.5) is None


def test_holm_worked_by_hand() -> None:
    """Sorted, times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04; made monotone: 0.04, 0.06, 0.06, 0.06."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_band_is_a_prediction_interval_with_a_floor() -> None:
    low, high = prediction_band(Sample(5.0, 0.4, 3), 3, confidence=0.95)
    reach = quantile(0.975, 2) * 0.4 * math.sqrt(2 / 3)
    assert (low, high) == pytest.approx((5 - reach, 5 + reach))
    assert prediction_band(Sample(5.0, 0.0, 3), 3, floor=0.3) == pytest.approx((4.7, 5.3))
    assert prediction_band(Sample(5.0, None, 1), 1, floor=0.3) == pytest.approx((4.7, 5.3))


def test_band_distrusts_accepted_runs_that_agree_by_luck() -> None:
    low, high = prediction_band(Sample(5.0, 0.001, 3), 3, Pool(0.4, 8), confidence=0.95)
    reach = quantile(0.975, 8) * 0.4 * math.sqrt(2 / 3)
    assert (low, high) == pytest.approx((5 - reach, 5 + reach))


def test_band_holds_the_promised_share_of_healthy_runs() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(2000):
        low, high = prediction_band(summarise(rng.normal(20, 0.4, 3)), 3, confidence=0.95)
        inside += low <= rng.normal(20, 0.4, 3).mean() <= high
    assert inside / 2000 == pytest.approx(0.95, abs=0.02)


def test_bootstrap_over_images_finds_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap_over_images(np.mean, values, draws=500)
    assert found.value == pytest.approx(values.mean())
    assert found.std == pytest.approx(values.std() / 20, rel=0.15)
    assert found.low < found.value < found.high
    assert found.images == 400
    assert found == bootstrap_over_images(np.mean, values, draws=500)


def test_bootstrap_resamples_two_detectors_together() -> None:
    base = np.random.default_rng(0).normal(0, 5, 300)
    found = bootstrap_over_images(lambda a, b: float(a.mean() - b.mean()), base + 0.1, base, draws=200)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    with pytest.raises(ValueError, match="one length"):
        bootstrap_over_images(lambda a, b: 0.0, base, base[:-1])


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("true", [0.0, -0.4, 2.0])
def test_intervals_cover_the_true_difference_as_often_as_they_say(n: int, true: float) -> None:
    rng = np.random.default_rng(n)
    covered = 0
    for _ in range(2000):
        paper, ours = summarise(rng.normal(25, 0.3, 5)), summarise(rng.normal(25 + true, 0.3, n))
        low, high = difference(ours, paper).interval(0.95)
        covered += low <= true <= high
    assert 0.93 <= covered / 2000 <= 0.985


def test_simulated_cells_without_a_difference_are_seldom_called_different() -> None:
    rng = np.random.default_rng(7)
    outcomes = []
    for _ in range(500):
        paper, ours = summarise(rng.normal(25, 0.3, 5)), summarise(rng.normal(25, 0.3, 3))
        printed = Sample(round(paper.mean, 2), round(paper.std or 0.0, 2), 5)
        outcomes.append(difference(ours, printed, half_unit=0.005).outcome(margin(0.5, printed)))
    assert outcomes.count("below") / 500 <= 0.05
    assert outcomes.count("above") / 500 <= 0.05


@pytest.mark.parametrize(("true", "expected"), [(2.0, "above"), (-2.0, "below")])
def test_simulated_differences_of_two_points_are_found(true: float, expected: str) -> None:
    rng = np.random.default_rng(8)
    found = 0
    for _ in range(500):
        paper, ours = summarise(rng.normal(25, 0.3, 5)), summarise(rng.normal(25 + true, 0.3, 3))
        found += difference(ours, paper, half_unit=0.05).outcome(0.5) == expected
    assert found / 500 >= 0.95


def test_equivalence_is_claimed_when_true_and_seldom_at_the_edge_of_the_margin() -> None:
    """Two one-sided tests: power with ten runs a side; at a true difference of exactly the margin, at most 5 %."""
    rng = np.random.default_rng(9)

    def rate(true: float) -> float:
        claims = 0
        for _ in range(1000):
            paper, ours = summarise(rng.normal(25, 0.3, 10)), summarise(rng.normal(25 + true, 0.3, 10))
            claims += difference(ours, paper).outcome(0.5) == "equivalent"
        return claims / 1000

    assert rate(0.0) >= 0.9
    assert rate(0.5) <= 0.07
    assert rate(-0.5) <= 0.07
