"""Moments of any values, in any pieces and any order, against two passes in float64."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from se_probe.recording.moments import ClassMoments, Moments

SETTINGS = settings(deadline=None, derandomize=True, max_examples=100)
EPSILON = np.finfo(np.float64).eps


@st.composite
def values(draw):
    """Rows of gates or of logits: of one magnitude, around any offset, often constant."""
    shape = draw(st.integers(1, 30)), draw(st.integers(1, 3))
    spread = draw(st.sampled_from([0.0, 1e-7, 1e-2, 1.0, 1e3]))
    offset = draw(st.sampled_from([0.0, 0.5, 1.0, -30.0, 1e4]))
    kind = draw(st.sampled_from([np.float32, np.float64]))
    unit = draw(arrays(np.float64, shape, elements=st.floats(-1, 1, allow_subnormal=False)))
    return (offset + spread * unit).astype(kind)


def close_to_two_passes(moments: Moments, rows) -> bool:
    exact = rows.astype(np.float64)
    mean = exact.mean(0)
    m2 = np.square(exact - mean).sum(0)
    # What rounding of a mean of this size can do to it, and to a sum of this many squared deviations.
    error = 8 * EPSILON * len(rows) * (1 + np.abs(exact).max())
    return (
        moments.count == len(rows)
        and np.all(np.abs(moments.mean - mean) <= error)
        and np.all(np.abs(moments.m2 - m2) <= 2 * len(rows) * error * (np.sqrt(m2) + error))
        and np.all(moments.m2 >= 0)
    )


@SETTINGS
@given(values())
def test_moments_of_rows(rows):
    assert close_to_two_passes(Moments.of(rows), rows)


@SETTINGS
@given(values(), st.data())
def test_any_pieces_merged_in_any_tree_and_order(rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(rows) - 1)), max_size=6)) - {len(rows)})
    pieces = [Moments.of(piece) for piece in np.split(rows[list(order)], cuts)]
    while len(pieces) > 1:
        first = pieces.pop(data.draw(st.integers(0, len(pieces) - 1)))
        second = pieces.pop(data.draw(st.integers(0, len(pieces) - 1)))
        pieces.append(first.merge(second))
    assert close_to_two_passes(pieces[0], rows)


@SETTINGS
@given(values(), values())
def test_the_order_of_two_does_not_matter_beyond_rounding(first, second):
    columns = min(first.shape[1], second.shape[1])
    rows = np.concatenate([first[:, :columns].astype(np.float64), second[:, :columns].astype(np.float64)])
    a, b = Moments.of(rows[: len(first)]), Moments.of(rows[len(first) :])
    assert close_to_two_passes(a.merge(b), rows)
    assert close_to_two_passes(b.merge(a), rows)


@SETTINGS
@given(values(), st.data())
def test_classes_do_not_mix_however_the_rows_come(rows, data):
    classes = data.draw(st.lists(st.sampled_from("abc"), min_size=len(rows), max_size=len(rows)))
    size = data.draw(st.integers(1, len(rows)))
    moments = ClassMoments()
    for start in range(0, len(rows), size):
        moments.update(classes[start : start + size], rows[start : start + size])
    assert set(moments.by_class) == set(classes)
    for name, found in moments.by_class.items():
        assert close_to_two_passes(found, rows[np.array(classes) == name])


@SETTINGS
@given(values(), st.data())
def test_parts_of_any_processes_in_any_order(rows, data):
    """Shards may end anywhere and come from any rank."""
    classes = np.array(data.draw(st.lists(st.sampled_from("abc"), min_size=len(rows), max_size=len(rows))))
    part_of = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    whole = ClassMoments()
    for number in data.draw(st.permutations(range(4))):
        part = ClassMoments()
        part.update(classes[part_of == number].tolist(), rows[part_of == number])
        for name, moments in part.by_class.items():
            whole.add(name, moments)
    assert set(whole.by_class) == set(classes.tolist())
    for name, found in whole.by_class.items():
        assert close_to_two_passes(found, rows[classes == name])


def test_one_image_has_no_deviation():
    moments = Moments.of(np.array([[0.25, 0.75]]))
    assert moments.count == 1
    assert moments.m2.tolist() == [0, 0]


@SETTINGS
@given(st.floats(-1e6, 1e6), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_what_is_constant_has_its_exact_mean_and_no_deviation(value, counts):
    merged = None
    for count in counts:
        piece = Moments.of(np.full((count, 2), value))
        merged = piece if merged is None else merged.merge(piece)
    assert merged.m2.tolist() == [0, 0]
    assert merged.mean.tolist() == [value, value]
