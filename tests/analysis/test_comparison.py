"""Comparisons of networks whose likeness, size and health are known."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.comparison import compare_recordings
from se_probe.analysis.health import site_health
from se_probe.analysis.specificity import site_specificity
from tests.analysis.image_recording import CLASSES, ORDER, image_table, network

IMAGES = image_table(dict.fromkeys(ORDER, range(12)))
FAST = {"resamples": 19}


@pytest.fixture(scope="module")
def compared():
    """A network, the same one with gates that hardly move, and another one of fewer sites."""
    recordings = {
        "live": network(IMAGES, seed=1),
        "collapsed": network(IMAGES, seed=1, spread=1e-4),
        "short": network(IMAGES, seed=2, sites=2),
    }
    return recordings, compare_recordings(recordings, **FAST)


def test_depth_runs_from_the_first_site_to_the_last(compared):
    for _, rows in compared[1].sites.groupby("run"):
        np.testing.assert_allclose(rows["depth"], np.arange(len(rows)) / (len(rows) - 1))


def test_profile_is_what_the_measures_say_of_the_same_images(compared):
    recordings, comparison = compared
    rows = comparison.sites[comparison.sites["run"] == "short"].reset_index(drop=True)
    alone = site_specificity(recordings["short"], resamples=19)
    health = site_health(recordings["short"])
    assert rows["depth"].tolist() == [0, 1]
    for column, expected in (
        ("specificity", alone["omega_squared"]),
        ("specificity_ci_low", alone["ci_low"]),
        ("between_class_sd", alone["between_class_sd"]),
        ("sd", health["sd"]),
        ("dynamic", health["dynamic"]),
    ):
        np.testing.assert_allclose(rows[column], expected)
    assert set(comparison.sites["specificity_over"]) == {"classes"}


def test_few_classes_have_an_interval_over_images():
    images = image_table(dict.fromkeys(CLASSES[:3], range(12)))
    comparison = compare_recordings({"a": network(images, seed=1), "b": network(images, seed=2)}, **FAST)
    assert set(comparison.sites["specificity_over"]) == {"images"}
    assert comparison.sites[["specificity_ci_low", "specificity_ci_high"]].notna().all(axis=None)
    assert comparison.alignment["rsa"].isna().all()


def test_fewer_than_ten_classes_have_no_similarity_over_classes():
    images = image_table(dict.fromkeys(ORDER[:9], range(12)))
    comparison = compare_recordings({"a": network(images, seed=1), "b": network(images, seed=2)}, **FAST)
    assert comparison.alignment["rsa"].isna().all()
    assert comparison.matches[["rsa", "rsa_ci_low", "rsa_ci_high"]].isna().all(axis=None)
    assert comparison.alignment["cka"].notna().all()


def test_gates_that_differ_in_size_only_are_alike_and_the_spread_beside_tells(compared):
    _, comparison = compared
    matches = comparison.matches[(comparison.matches["run"] == "live") & (comparison.matches["other"] == "collapsed")]
    assert matches["other_site"].tolist() == matches["run_site"].tolist() == ["SE_2_1", "SE_3_1", "SE_4_1"]
    np.testing.assert_allclose(matches["cka"], 1, atol=1e-2)
    np.testing.assert_allclose(matches["rsa"], 1, atol=0.05)
    assert matches["run_verdict"].tolist() == ["live"] * 3
    assert matches["other_verdict"].tolist() == ["collapsed"] * 3
    assert (matches["run_sd"] > 500 * matches["other_sd"]).all()


def test_alignment_has_every_pair_once_and_matches_both_ways(compared):
    _, comparison = compared
    sizes = comparison.alignment.groupby(["first", "other"], sort=False).size()
    assert sizes.to_dict() == {("live", "collapsed"): 9, ("live", "short"): 6, ("collapsed", "short"): 6}
    assert len(comparison.matches) == 2 * (3 + 3 + 2)
    pair = comparison.alignment.query("first == 'live' and other == 'short'")
    best = pair.loc[pair.groupby("other_site")["cka"].idxmax()].set_index("other_site")["first_site"]
    back = comparison.matches.query("run == 'short' and other == 'live'").set_index("run_site")["other_site"]
    pd.testing.assert_series_equal(best, back, check_names=False)
    inside = comparison.matches[["cka_ci_low", "cka", "cka_ci_high"]].dropna()
    rounding = 1e-9
    assert (inside["cka_ci_low"] <= inside["cka"] + rounding).all()
    assert (inside["cka"] <= inside["cka_ci_high"] + rounding).all()


def test_a_site_that_never_varies_has_no_match():
    still = network(IMAGES, seed=1)
    still.raw["SE_3_1"][:] = 0.5
    comparison = compare_recordings({"a": still, "b": network(IMAGES, seed=2)}, **FAST)
    row = comparison.matches.query("run == 'a' and run_site == 'SE_3_1'").iloc[0]
    assert pd.isna(row["other_site"])
    assert pd.isna(row["cka"])
    assert "SE_3_1" not in set(comparison.matches.query("run == 'b'")["other_site"])


def test_a_notebook_sees_words_and_no_markup_of_names():
    comparison = compare_recordings({"<b>a": network(IMAGES, seed=1), "b": network(IMAGES, seed=2)}, **FAST)
    assert repr(comparison).startswith(
        "<se_probe.Comparison <b>a, b: 36 shared images>\n  The gates of <b>a and b are live"
    )
    assert "<b>a" not in comparison._repr_html_()
    assert "<li>&lt;b&gt;a: 3 of 3 sites live, " in comparison._repr_html_()
