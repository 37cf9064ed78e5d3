"""Comparisons of networks whose likeness, size and health are known, and their summaries."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.comparison import compare_recordings, comparison_sentences, comparison_summary
from se_probe.analysis.health import site_health
from se_probe.analysis.specificity import site_specificity
from tests.analysis.image_recording import CLASSES, ORDER, image_table, network

IMAGES = image_table(dict.fromkeys(ORDER, range(12)))
FAST = {"resamples": 19}


@pytest.fixture(scope="module")
def recordings():
    """A network, the same one with gates that hardly move, and another one of fewer sites."""
    return {
        "live": network(IMAGES, seed=1),
        "collapsed": network(IMAGES, seed=1, spread=1e-4),
        "short": network(IMAGES, seed=2, sites=2),
    }


@pytest.fixture(scope="module")
def compared(recordings):
    return compare_recordings(recordings, **FAST)


def test_depth_runs_from_the_first_site_to_the_last(compared):
    for _, rows in compared.sites.groupby("run"):
        np.testing.assert_allclose(rows["depth"], np.arange(len(rows)) / (len(rows) - 1))


def test_profile_is_what_the_measures_say_of_the_same_images(recordings, compared):
    rows = compared.sites[compared.sites["run"] == "short"].reset_index(drop=True)
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
    assert set(compared.sites["specificity_over"]) == {"classes"}


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
    matches = compared.matches[(compared.matches["run"] == "live") & (compared.matches["other"] == "collapsed")]
    assert matches["other_site"].tolist() == matches["run_site"].tolist() == ["SE_2_1", "SE_3_1", "SE_4_1"]
    np.testing.assert_allclose(matches["cka"], 1, atol=1e-2)
    np.testing.assert_allclose(matches["rsa"], 1, atol=0.05)
    assert matches["run_verdict"].tolist() == ["live"] * 3
    assert matches["other_verdict"].tolist() == ["collapsed"] * 3
    assert (matches["run_sd"] > 500 * matches["other_sd"]).all()


def test_alignment_has_every_pair_once_and_matches_both_ways(compared):
    sizes = compared.alignment.groupby(["first", "other"], sort=False).size()
    assert sizes.to_dict() == {("live", "collapsed"): 9, ("live", "short"): 6, ("collapsed", "short"): 6}
    assert len(compared.matches) == 2 * (3 + 3 + 2)
    pair = compared.alignment.query("first == 'live' and other == 'short'")
    best = pair.loc[pair.groupby("other_site")["cka"].idxmax()].set_index("other_site")["first_site"]
    back = compared.matches.query("run == 'short' and other == 'live'").set_index("run_site")["other_site"]
    pd.testing.assert_series_equal(best, back, check_names=False)
    inside = compared.matches[["cka_ci_low", "cka", "cka_ci_high"]].dropna()
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


def test_collapsed_sites_come_first_then_spreads_then_likeness(compared):
    first, second, third = comparison_summary(compared).sentences
    assert first == "Gates have collapsed at 3 of 3 sites of collapsed; all other sites are live."
    medians = {run: rows["between_class_sd"].median() for run, rows in compared.sites.groupby("run")}
    ordered = sorted(medians, key=medians.get, reverse=True)
    assert ordered[-1] == "collapsed"
    spreads = [f"{medians[run]:.2g} in {run}" for run in ordered]
    assert second == (
        f"Class means differ by {spreads[0]}, {spreads[1]} and {spreads[2]}, in gate units (standard deviation, median "
        "site)."
    )
    cka = compared.matches["cka"]
    assert f"has a CKA of {cka.median():.2f} ({cka.min():.2f} to {cka.max():.2f}; " in third


def test_networks_that_are_live_throughout_say_so():
    recordings = {"a": network(IMAGES, seed=1), "b": network(IMAGES, seed=2)}
    told = comparison_summary(compare_recordings(recordings, resamples=19))
    assert told.sentences[0] == "The gates of a and b are live at all sites: they depend on the image."
    assert told.next is None


def test_a_short_line_for_each_network_and_each_pair(compared):
    lines = comparison_summary(compared).claims
    assert len(lines) == 3 + 6
    assert max(map(len, lines)) <= 120
    assert lines[0].startswith("live: 3 of 3 sites live, SD 0.")
    assert lines[1].startswith("collapsed: 0 of 3 sites live, ")
    pair = compared.matches.query("run == 'live' and other == 'short'")
    apart = (pair["run_depth"] - pair["other_depth"]).abs().median()
    assert f"live → short: CKA {pair['cka'].median():.2f}, {apart:.2f} of the depth away" in lines


def test_gates_that_never_vary_have_no_match():
    still = [network(IMAGES, seed=seed) for seed in (1, 2)]
    for item in still:
        for values in item.raw.values():
            values[:] = 0.5
    told = comparison_summary(compare_recordings(dict(zip("ab", still, strict=True)), resamples=19))
    assert told.sentences[2] == "No site can be matched with one of another network, since gates do not vary."
    assert "a → b: no match" in told.claims


def test_sites_of_unknown_state_are_told(compared):
    few = compared.sites.assign(verdict="unknown")
    unsure = type(compared)(compared.runs, compared.shared, few, compared.alignment, compared.matches)
    first = comparison_summary(unsure).sentences[0]
    assert first == (
        "Gates cannot be judged at 3 of 3 sites of live, 3 of 3 sites of collapsed and 2 of 2 sites of short."
    )


def test_full_statements_put_the_size_beside_the_share(compared):
    about = comparison_sentences(compared)
    assert len(about) == 3 + 6
    assert about[0].startswith("live: gates live at 3 of 3 sites; their standard deviation over images is 0.")
    assert about[0].count("hardly move") == 0
    assert about[1].startswith("collapsed: gates collapsed at 3 of 3 sites; ")
    assert about[1].endswith(
        "; most of its gates hardly move, so that its shares and similarities are those of next to no variance."
    )
    assert about[3].startswith("live → collapsed: the most similar site has a CKA of 1.00 (median; ")
    assert about[3].endswith("in 0 of 3 matches the gates of both sites are live.")
