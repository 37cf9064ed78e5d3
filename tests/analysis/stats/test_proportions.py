"""Intervals of proportions against a published example, formulas by hand, scipy, and exact coverage."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.stats.paired import Strata, paired_interval
from se_probe.analysis.stats.proportions import flip_interval, share_interval


def flips(falls, rises, images):
    """One group of images of which so many fall and so many rise, a column a pair."""
    values = np.zeros((images, len(falls)))
    for column, (fall, rise) in enumerate(zip(falls, rises, strict=True)):
        values[:fall, column] = -1
        values[fall : fall + rise, column] = 1
    return Strata((values,), "image")


def test_one_group_is_the_worked_example_of_bonett_and_price():
    """The example of `ci.prop.ps` in the R package statpsych: 12, 4, 26, 6 give 0.44 and 0.2548067 to 0.6251933."""
    found = flip_interval(flips([4], [26], 48))
    assert found.estimate[0] == pytest.approx(22 / 48)
    assert (found.low[0] + found.high[0]) / 2 == pytest.approx(0.44)
    assert found.low[0] == pytest.approx(0.2548067, abs=1e-7)
    assert found.high[0] == pytest.approx(0.6251933, abs=1e-7)


def test_no_flip_among_n_images_is_no_interval_of_width_zero():
    for images in (10, 50, 500):
        found = flip_interval(flips([0], [0], images))
        reach = stats.norm.ppf(0.975) * np.sqrt(2) / (images + 2)
        assert (found.low[0], found.estimate[0], found.high[0]) == pytest.approx((-reach, 0, reach))
    all_fall = flip_interval(flips([10], [0], 10))
    assert all_fall.estimate[0] == all_fall.low[0] == -1 < all_fall.high[0] < 0


def test_several_groups_by_hand():
    groups = (np.array([-1.0, 0, 0, 1, 0]), np.array([-1.0, -1, 0, 0, 0, 0, 0, 0]))
    found = flip_interval(Strata(tuple(group[:, None] for group in groups), "image"))
    middle, variance = 0.0, 0.0
    for group in groups:
        images = len(group) + 1
        falls, rises = (np.sum(group == -1) + 0.5) / images, (np.sum(group == 1) + 0.5) / images
        middle += (rises - falls) / 2
        variance += (falls + rises - (rises - falls) ** 2) / (images - 0.5) / 4
    reach = stats.norm.ppf(0.975) * np.sqrt(variance)
    assert found.estimate[0] == pytest.approx((0 - 0.25) / 2)
    assert (found.low[0], found.high[0]) == pytest.approx((middle - reach, middle + reach))


def test_even_groups_of_many_images_agree_with_the_bootstrap():
    rng = np.random.default_rng(0)
    values = rng.choice([-1.0, 0, 1], p=(0.12, 0.84, 0.04), size=(10, 50, 1))
    units = Strata(tuple(values), "image")
    wald, bootstrap = flip_interval(units), paired_interval(units)
    assert wald.high[0] - wald.low[0] == pytest.approx(bootstrap.high[0] - bootstrap.low[0], rel=0.05)


def test_a_group_of_one_image_has_no_limits_beside_others():
    found = flip_interval(Strata((np.zeros((1, 1)), np.zeros((5, 1))), "image"))
    assert found.estimate[0] == 0
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("images", [10, 30, 50])
def test_exact_coverage_of_one_class_is_at_least_nominal_where_the_bootstrap_fails(images):
    """All outcomes with their multinomial probabilities, so that nothing is left to chance."""
    most = min(images, 22)
    falls, rises = np.array([pair for pair in product(range(most + 1), repeat=2) if sum(pair) <= most]).T
    units = flips(falls, rises, images)
    limits = {"adjusted": flip_interval(units), "bootstrap": paired_interval(units)}
    covered = {name: [] for name in limits}
    for rate, share in product((0.002, 0.01, 0.02, 0.05, 0.1), (1.0, 0.75, 0.5)):
        fall, rise = rate * share, rate * (1 - share)
        odds = stats.multinomial.pmf(
            np.stack([falls, rises, images - falls - rises], 1), images, [fall, rise, 1 - rate]
        )
        assert odds.sum() > 0.999
        for name, found in limits.items():
            inside = (found.low <= rise - fall + 1e-12) & (found.high >= rise - fall - 1e-12)
            covered[name].append(odds[inside].sum())
    assert min(covered["adjusted"]) > 0.95
    assert min(covered["bootstrap"]) < 0.1


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.1])
@pytest.mark.parametrize(("classes", "images"), [(50, 10), (10, 50)])
def test_coverage_over_classes_whose_rates_differ(rate, classes, images):
    rng = np.random.default_rng(1)
    runs = 1000
    fall = np.minimum(rate * rng.gamma(0.7, 1 / 0.7, classes), 0.9)
    values = tuple(-1.0 * (rng.random((images, runs)) < own) for own in fall)
    found = flip_interval(Strata(values, "image"))
    covered = np.mean((found.low <= -fall.mean()) & (found.high >= -fall.mean()))
    assert covered >= stats.binom.ppf(0.001, runs, 0.945) / runs


def test_a_share_has_the_limits_of_scipys_wilson_interval():
    for hits, images in ((0, 10), (7, 10), (498, 500), (500, 500)):
        values = (np.arange(images) < hits).astype(float)[:, None]
        found = share_interval(Strata((values,), "image"))
        expected = stats.binomtest(hits, images).proportion_ci(method="wilson")
        assert (found.low[0], found.high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert found.low[0] < found.high[0]
    even = np.array([1.0] * 45 + [0.0] * 5)[:, None]
    whole, halves = share_interval(Strata((even,), "image")), share_interval(Strata((even[::2], even[1::2]), "image"))
    assert (halves.low[0], halves.high[0]) == pytest.approx((whole.low[0], whole.high[0]))


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_coverage_of_a_share_over_uneven_classes(share):
    rng = np.random.default_rng(2)
    runs = 1000
    own = 1 - np.minimum((1 - share) * rng.gamma(0.7, 1 / 0.7, 40), 0.9)
    hits = tuple(
        1.0 * (rng.random((images, runs)) < p) for images, p in zip(rng.integers(10, 50, 40), own, strict=True)
    )
    found = share_interval(Strata(hits, "image"))
    covered = np.mean((found.low <= own.mean()) & (found.high >= own.mean()))
    assert covered >= stats.binom.ppf(0.001, runs, 0.94) / runs
