"""Sign-flip tests and paired intervals against scipy, closed forms and simulation with known truth."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.stats.paired import (
    RESAMPLES,
    Strata,
    flip_interval,
    holm,
    image_strata,
    paired_interval,
    pattern_test,
    share_interval,
    sign_flip_test,
    smallest_p,
    strata,
    studentized_interval,
)
from tests.analysis.stats.samples import band


def one_class(differences):
    return strata(differences, np.zeros(len(differences), dtype=np.int64))


def many_classes(rng, *, classes, images, class_sd, image_sd, columns=1, shift=0.0):
    """Differences of images in classes whose own mean differences vary, and the classes."""
    labels = np.repeat(np.arange(classes), images)
    own = rng.normal(shift, class_sd, (classes, columns))
    return own[labels] + rng.normal(0, image_sd, (len(labels), columns)), labels


def test_exact_p_equals_scipy():
    differences = np.random.default_rng(0).normal(0.4, 1, (9, 3))
    p = sign_flip_test(one_class(differences))
    for column in range(3):
        expected = stats.permutation_test(
            (differences[:, column],), np.mean, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert p[column] == pytest.approx(expected, rel=1e-12)


def test_drawn_p_is_close_to_the_exact_one():
    differences = np.random.default_rng(1).normal(0.35, 1, (18, 1))
    signs = 1 - 2 * ((np.arange(2**18)[:, None] >> np.arange(18)) & 1)
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-12))
    assert sign_flip_test(one_class(differences))[0] == pytest.approx(exact, abs=4 * np.sqrt(exact / 9999))


def test_all_alike_gives_the_smallest_p_and_zeros_give_one():
    differences = np.stack([np.full(6, 0.2), np.zeros(6)], axis=1)
    np.testing.assert_allclose(sign_flip_test(one_class(differences)), [2 / 64, 1])
    assert smallest_p(6) == 2 / 64
    many = np.full((200, 1), 0.2)
    np.testing.assert_allclose(sign_flip_test(one_class(many)), 1 / 10_000)
    assert smallest_p(200) == 1 / 10_000


def test_classes_weigh_the_same_whatever_their_counts():
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    differences = np.array([1.0, 1, 1, 1, 1, 1, 5, 5])[:, None]
    units = strata(differences, labels)
    assert units.mean == pytest.approx([3.0])
    assert (units.resampling_unit, units.units) == ("image", 8)


def test_units_are_classes_from_ten_on():
    differences, labels = many_classes(np.random.default_rng(2), classes=20, images=4, class_sd=1, image_sd=1)
    units = strata(differences, labels)
    assert (units.resampling_unit, units.units) == ("class", 20)
    np.testing.assert_allclose(units.groups[0][:, 0], differences.reshape(20, 4).mean(axis=1))
    np.testing.assert_allclose(units.mean, differences.mean())
    fewer = labels < 9
    assert strata(differences[fewer], labels[fewer]).resampling_unit == "image"


@pytest.mark.parametrize("classes", [3, 20])
def test_null_is_rejected_at_the_nominal_rate_and_a_shift_is_found(classes):
    """400 columns are 400 trials; within three classes only images are random, over twenty classes are too."""
    rng = np.random.default_rng(3)
    shape = {"classes": classes, "images": 8, "class_sd": 0.5 * (classes > 10), "image_sd": 1, "columns": 400}
    null, labels = many_classes(rng, **shape)
    rate = np.mean(sign_flip_test(strata(null, labels)) <= 0.05)
    assert 0.02 <= rate <= 0.08
    moved, labels = many_classes(rng, **shape, shift=1.0)
    assert np.mean(sign_flip_test(strata(moved, labels)) <= 0.05) > 0.95


@pytest.mark.parametrize("classes", [3, 20])
def test_intervals_cover_the_truth(classes):
    rng = np.random.default_rng(4)
    shape = {"classes": classes, "images": 6, "class_sd": 0.5 * (classes > 10), "image_sd": 1, "columns": 400}
    differences, labels = many_classes(rng, **shape, shift=0.3)
    interval = paired_interval(strata(differences, labels))
    covered = np.mean((interval.low <= 0.3) & (interval.high >= 0.3))
    assert 0.92 <= covered <= 0.98
    np.testing.assert_allclose(interval.estimate, differences.mean(axis=0))


def test_interval_is_that_of_students_t_for_normal_differences():
    differences = np.random.default_rng(5).normal(0.1, 1, (40, 1))
    interval = paired_interval(one_class(differences))
    low, high = stats.t.interval(0.95, 39, differences.mean(), stats.sem(differences[:, 0]))
    assert interval.low[0] == pytest.approx(low, abs=0.03)
    assert interval.high[0] == pytest.approx(high, abs=0.03)


def test_a_class_with_one_image_has_no_interval():
    interval = paired_interval(strata(np.ones((3, 1)), np.array([0, 0, 1])))
    assert interval.estimate == pytest.approx([1.0])
    assert np.isnan([interval.low, interval.high]).all()


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])


def test_image_strata_are_the_images_of_each_class_however_many_there_are():
    differences, labels = many_classes(np.random.default_rng(2), classes=20, images=4, class_sd=1, image_sd=1)
    units = image_strata(differences, labels)
    assert (units.resampling_unit, units.units, len(units.groups)) == ("image", 80, 20)
    np.testing.assert_allclose(units.groups[3], differences[labels == 3])
    one_each = image_strata(differences[:5], np.arange(5))
    assert len(one_each.groups) == 1
    np.testing.assert_allclose(one_each.mean, differences[:5].mean())


def test_studentized_limits_are_those_of_one_resample_at_a_time():
    rng = np.random.default_rng(7)
    groups = (rng.gamma(0.5, size=(6, 1)), rng.gamma(0.5, size=(9, 1)))
    found = studentized_interval(Strata(groups, "image"), seed=3)

    def mean_and_error(parts):
        return np.mean([part.mean() for part in parts]), np.sqrt(
            sum(part.var(ddof=1) / len(part) for part in parts)
        ) / 2

    centre, error = mean_and_error(groups)
    again, steps = np.random.default_rng(3), []
    draws = [again.multinomial(len(group), np.full(len(group), 1 / len(group)), size=RESAMPLES) for group in groups]
    for pair in zip(*draws, strict=True):
        mean, own = mean_and_error([np.repeat(group, times, axis=0) for group, times in zip(groups, pair, strict=True)])
        steps.append((mean - centre) / own)
    ends = np.quantile(steps, [0.975, 0.025], method="closest_observation")
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(centre - ends * error))


def test_studentized_limits_cover_a_long_tail_better():
    rng = np.random.default_rng(8)
    values, truth = rng.lognormal(-4, 1.5, (5, 20, 300)), np.exp(-4 + 1.5**2 / 2)
    units = Strata(tuple(values), "image")
    covered = [
        np.mean((found.low <= truth) & (truth <= found.high))
        for found in (studentized_interval(units), paired_interval(units))
    ]
    assert covered[0] >= band(0.92, 300)[0]
    assert covered[0] > covered[1]


def test_studentized_limits_need_two_units_with_errors_of_their_own():
    single = studentized_interval(Strata((np.ones((1, 1)), np.arange(3.0)[:, None]), "image"))
    pair = studentized_interval(Strata((np.array([[0.0], [1.0]]),), "image"))
    still = studentized_interval(Strata((np.full((9, 1), 0.5),), "image"))
    assert np.isnan([single.low, single.high, pair.low, pair.high]).all()
    assert (still.low[0], still.high[0]) == (0.5, 0.5)


def test_pattern_p_is_that_of_all_signs_of_whole_images():
    differences = np.random.default_rng(0).normal(0.3, 1, (9, 4))
    signs = 1 - 2 * ((np.arange(2**9)[:, None] >> np.arange(9)) & 1)
    lengths = np.array([np.sum((row @ differences / 9) ** 2) for row in signs])
    exact = np.mean(lengths >= np.sum(differences.mean(axis=0) ** 2) * (1 - 1e-12))
    assert pattern_test(one_class(differences)) == pytest.approx(exact, rel=1e-12)
    one_column = one_class(differences[:, :1])
    assert pattern_test(one_column) == pytest.approx(sign_flip_test(one_column)[0])


def test_pattern_keeps_its_level_and_finds_shifts_that_cancel_over_columns():
    rng = np.random.default_rng(1)
    false = [pattern_test(one_class(rng.normal(size=(10, 5)))) <= 0.05 for _ in range(400)]
    # Four standard errors above 5 %.
    assert np.mean(false) <= 0.094
    opposite = rng.normal(0, 1, (30, 2)) + np.array([0.8, -0.8])
    assert pattern_test(one_class(opposite)) <= 0.01
    assert pattern_test(one_class(np.zeros((30, 2)))) == 1


def flips(falls, rises, images):
    """One group of images of which so many fall and so many rise, one column per pair."""
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
    assert covered >= band(0.945, runs)[0]


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
    assert covered >= band(0.94, runs)[0]
