"""What a comparison says first: the state of the gates before what they depend on, in numbers of the tables."""

import pytest

from se_probe.analysis.comparison import compare_recordings, comparison_sentences, comparison_summary
from tests.analysis.comparable import ORDER, image_table, network

IMAGES = image_table(dict.fromkeys(ORDER, range(12)))


@pytest.fixture(scope="module")
def compared():
    recordings = {
        "live": network(IMAGES, seed=1),
        "collapsed": network(IMAGES, seed=1, spread=1e-4),
        "short": network(IMAGES, seed=2, sites=2),
    }
    return compare_recordings(recordings, resamples=19)


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
    assert about[3].startswith("live → collapsed: the most alike site has a CKA of 1.00 (median; ")
    assert about[3].endswith("in 0 of 3 matches the gates of both sites are live.")
