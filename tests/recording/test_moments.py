from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from se_probe.recording.moments import ClassMoments, Moments


def test_moments_equal_two_passes_in_float64():
    values = np.random.default_rng(0).normal(0.5, 0.1, (37, 5)).astype(np.float32)
    moments = Moments.of(values)
    exact = values.astype(np.float64)
    assert moments.count == 37
    np.testing.assert_allclose(moments.mean, exact.sum(0) / 37, rtol=1e-14)
    np.testing.assert_allclose(moments.m2 / 36, exact.var(0, ddof=1), rtol=1e-12)


def test_any_split_into_batches_gives_the_same_moments():
    rng = np.random.default_rng(1)
    values = rng.normal(1e4, 1e-2, (500, 3))
    classes = rng.choice(["a", "b", "c"], 500).tolist()
    whole = ClassMoments()
    whole.update(classes, values)
    for size in (1, 7, 64):
        split = ClassMoments()
        for start in range(0, 500, size):
            split.update(classes[start : start + size], values[start : start + size])
        for name in "abc":
            rows = values[np.array(classes) == name]
            assert split.by_class[name].count == len(rows)
            np.testing.assert_allclose(split.by_class[name].mean, rows.mean(0), rtol=1e-14)
            np.testing.assert_allclose(split.by_class[name].m2, rows.var(0) * len(rows), rtol=1e-6)
            np.testing.assert_allclose(split.by_class[name].m2, whole.by_class[name].m2, rtol=1e-6)


def test_one_image_has_no_deviation():
    moments = Moments.of(np.array([[0.25, 0.75]]))
    assert moments.count == 1
    assert moments.m2.tolist() == [0, 0]


def test_constant_gates_stay_exactly_without_variance():
    moments = ClassMoments()
    for _ in range(10):
        moments.update(["a"] * 3, np.full((3, 2), 0.1))
    assert moments.by_class["a"].m2.tolist() == [0, 0]
    assert moments.by_class["a"].mean.tolist() == [0.1, 0.1]


ROWS = st.integers(1, 40).flatmap(
    lambda rows: st.tuples(
        arrays(np.float32, (rows, 3), elements=st.floats(-1e3, 1e3, width=32)),
        st.lists(st.sampled_from("abc"), min_size=rows, max_size=rows),
        st.lists(st.integers(0, rows), max_size=6),
    )
)


def exact(values, classes, name):
    """Count, mean and m2 of a class in two passes of float64."""
    rows = values[np.array(classes) == name].astype(np.float64)
    return len(rows), rows.mean(0), ((rows - rows.mean(0)) ** 2).sum(0)


def close(moments, values, classes, name):
    count, mean, m2 = exact(values, classes, name)
    scale = float(np.abs(values).max()) + 1e-30
    assert moments.count == count
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-12, atol=1e-13 * scale)
    np.testing.assert_allclose(moments.m2, m2, rtol=1e-9, atol=1e-12 * count * scale**2)
    assert (moments.m2 >= 0).all()


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_any_cuts_in_any_order_give_the_moments_of_all_rows(drawn):
    """Shards may end anywhere and come from any rank: the moments are those of two passes over all rows."""
    values, classes, cuts = drawn
    bounds = sorted({0, *cuts, len(values)})
    parts = []
    for start, stop in pairwise(bounds):
        part = ClassMoments()
        part.update(classes[start:stop], values[start:stop])
        parts.append(part)
    for ordered in (parts, parts[::-1]):
        whole = ClassMoments()
        for part in ordered:
            for name, moments in part.by_class.items():
                whole.add(name, moments)
        assert whole.by_class.keys() == set(classes)
        for name in whole.by_class:
            close(whole.by_class[name], values, classes, name)
