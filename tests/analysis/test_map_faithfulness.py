"""The table of masking against SciPy's paired t-test, and what its intervals cover."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.map_faithfulness import Masked, map_faithfulness


def changes(generator, images=40, channels=3, effect=0.0):
    noise = generator.standard_normal((3, images, channels))
    noise[0] -= effect
    noise[1] += effect
    return Masked(noise, generator.standard_normal((images, channels)) * 2 + 5)


def test_differences_and_limits_are_those_of_a_paired_t_test():
    item = changes(np.random.default_rng(0), effect=0.5)
    row = map_faithfulness({"SE_3_1": item}).iloc[0]
    by_image = item.changes.mean(2)
    for name, place in (("highest", 0), ("lowest", 1)):
        interval = stats.ttest_rel(by_image[place], by_image[2]).confidence_interval(0.95)
        assert row[f"{name}_minus_random"] == pytest.approx((by_image[place] - by_image[2]).mean())
        assert row[f"{name}_ci_low"] == pytest.approx(interval.low)
        assert row[f"{name}_ci_high"] == pytest.approx(interval.high)
    assert row["logit_sd"] == pytest.approx(np.sqrt(item.logits.var(0, ddof=1).mean()))
    assert (row["images"], row["channels"]) == (40, 3)


def test_a_map_without_effect_seldom_seems_better_than_random_and_a_strong_one_always():
    generator = np.random.default_rng(1)
    null = map_faithfulness({str(k): changes(generator) for k in range(400)})
    strong = map_faithfulness({str(k): changes(generator, effect=1) for k in range(50)})
    assert null["better_than_random"].mean() < 0.025
    assert strong["better_than_random"].all()
    covered = (null["highest_ci_low"] < 0) & (null["highest_ci_high"] > 0)
    assert 0.92 < covered.mean() < 0.98


def test_one_image_has_no_interval_and_shows_nothing():
    row = map_faithfulness({"SE_1_1": changes(np.random.default_rng(2), images=1, effect=9)}).iloc[0]
    assert np.isnan(row["highest_ci_low"])
    assert not row["better_than_random"]
