"""The search against sets whose cost is known."""

from itertools import chain, combinations

import numpy as np
import pytest

from se_probe.folding.evaluation import Loss, above_chance, images_for, least_limit, loss_of
from se_probe.folding.study import search


def known(harm, images=1000):
    """A cost in which harms add up; the interval reaches half a point beyond."""
    asked = []

    def cost(names):
        asked.append(tuple(names))
        lost = sum(harm[name] for name in names)
        points = 100 * lost / images
        return Loss(images, 100, 100 - points, lost, 0, points - 0.5, points + 0.5)

    return cost, asked


def test_a_network_without_loss_is_tried_once():
    cost, asked = known(dict.fromkeys("abcdef", 0))
    found = search("abcdef", cost, 1.0)
    assert found.chosen == tuple("abcdef")
    assert asked == [tuple("abcdef")]


@pytest.mark.parametrize("first_bad", range(6))
def test_bisection_finds_the_longest_prefix_and_greed_what_lies_behind_it(first_bad):
    order = "abcdef"
    harm = {name: 100 if place == first_bad else 0 for place, name in enumerate(order)}
    found = search(order, known(harm)[0], 1.0)
    assert set(found.chosen) == set(order) - {order[first_bad]}


def test_every_chosen_set_is_allowed_and_none_of_one_more_site_is():
    rng = np.random.default_rng(0)
    for _ in range(50):
        harm = {name: int(rng.integers(0, 6)) for name in "abcdefg"}
        cost, _ = known(harm)
        found = search("abcdefg", cost, 1.2)
        assert sum(harm[name] for name in found.chosen) <= 7
        for name in set("abcdefg") - set(found.chosen):
            before = [item for item in found.chosen if item < name]
            assert sum(harm[item] for item in before) + harm[name] > 7


def test_the_upper_limit_decides():
    cost, _ = known({"a": 4})
    assert search("a", cost, 0.9).chosen == ("a",)
    assert search("a", cost, 0.85).chosen == ()


def test_a_gain_makes_no_room():
    def cost(names):
        points = sum({"lucky": -2.0, "harmful": 1.5}[name] for name in names)
        return Loss(
            1000, 50, 50 - points, max(0, round(10 * points)), max(0, round(-10 * points)), points - 0.4, points + 0.4
        )

    assert search(["lucky", "harmful"], cost, 0.5).chosen == ("lucky", "harmful")
    assert search(["lucky", "harmful"], cost, 0.3).chosen == ()
    assert cost(["lucky"]).bound == pytest.approx(0.4)
    assert cost(["harmful"]).bound == pytest.approx(1.9)


def test_where_nothing_is_allowed_every_site_was_tried_alone():
    harm = {"a": 30, "b": 20, "c": 40}
    found = search("abc", known(harm)[0], 1.0)
    assert found.chosen == ()
    assert found.least_harmful.sites == ("b",)
    assert {trial.sites for trial in found.trials} >= {("a",), ("b",), ("c",)}


def test_no_set_is_measured_twice():
    for subset in chain.from_iterable(combinations("abcdef", size) for size in range(7)):
        cost, asked = known({name: 100 * (name in subset) for name in "abcdef"})
        search("abcdef", cost, 1.0)
        assert len(asked) == len(set(asked))


def test_loss_counts_pairs():
    before = np.array([True] * 60 + [False] * 40)
    after = before.copy()
    after[:5], after[60:62] = False, True
    loss = loss_of(before, after)
    assert (loss.images, loss.lost, loss.won) == (100, 5, 2)
    assert (loss.before, loss.after) == pytest.approx((60.0, 57.0))
    assert loss.points == pytest.approx(3.0)
    assert loss.low < 3 < loss.high
    assert str(loss) == f"3.00 points [{loss.low:.2f}, {loss.high:.2f}]"


def test_how_many_images_it_takes():
    for points in (0.1, 0.5, 2):
        images = images_for(points)
        assert least_limit(images) <= points < least_limit(images - 1)
    assert images_for(0.5) == 553


def test_chance():
    rng = np.random.default_rng(0)
    assert not above_chance(rng.random(1000) < 0.1, 10)
    assert above_chance(rng.random(1000) < 0.2, 10)
