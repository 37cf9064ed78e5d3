"""The jackknife over groups of classes against its textbook form and against simulation with known truth."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.stats.class_groups import class_groups, jackknife_limits, pooled_components_without
from se_probe.analysis.stats.moments import components


def _moments(classes, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    count = rng.integers(3, 9, classes)
    raw = [rng.normal(rng.normal(size=columns), 0.7, (images, columns)) for images in count]
    mean = np.stack([gates.mean(axis=0) for gates in raw], axis=-1)
    m2 = np.stack([((gates - gates.mean(axis=0)) ** 2).sum(axis=0) for gates in raw], axis=-1)
    return count, mean, m2


@pytest.mark.parametrize(("classes", "most"), [(6, 50), (23, 4)])
def test_components_without_a_group_are_those_of_the_classes_left(classes, most):
    count, mean, m2 = _moments(classes)
    groups = class_groups(classes, most=most)
    found = pooled_components_without(count, mean, m2, groups)
    for group in range(groups.max() + 1):
        kept = groups != group
        expected = components(count[kept], mean[:, kept], m2[:, kept]).pooled()
        assert found.between[group] == pytest.approx(float(expected.between), rel=1e-9)
        assert found.within[group] == pytest.approx(float(expected.within), rel=1e-9)


def test_few_classes_have_a_group_each_and_many_share_groups_of_even_size():
    assert class_groups(7).tolist() == list(range(7))
    sizes = np.bincount(class_groups(1003))
    assert len(sizes) == 50
    assert set(sizes) == {20, 21}
    assert (class_groups(1003) == class_groups(1003)).all()


def test_limits_of_a_mean_are_those_of_the_t_test():
    values = np.random.default_rng(1).normal(size=12)
    without = (values.sum() - values) / 11
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert jackknife_limits(values.mean(), without, np.arange(12)) == pytest.approx(tuple(expected))


def test_limits_from_uneven_groups_cover_at_the_nominal_rate():
    rng, covered = np.random.default_rng(2), 0
    for run in range(400):
        values = rng.normal(3.0, 1.0, 70)
        groups = class_groups(70, most=20, seed=run)
        without = np.array([values[groups != group].mean() for group in range(20)])
        low, high = jackknife_limits(values.mean(), without, groups)
        covered += low < 3.0 < high
    assert 0.92 < covered / 400 < 0.98
