"""Tables of effects against the raw effects that they are made of."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis import effects as module
from se_probe.analysis.effects import channel_effects, effect_agreement, effect_tables
from se_probe.analysis.findings.importance import selective_channels_matter_more
from tests.analysis.effect_recording import with_effects

NAMES = ["SE_2_1", "SE_3_1", "SK_4_1"]


def test_agreement_has_a_row_a_site():
    recording = with_effects()
    found = effect_agreement(recording)
    assert found["site"].tolist() == NAMES
    assert found[["images", "channels"]].drop_duplicates().to_numpy().tolist() == [[4, 6]]
    facts = recording.effects["agreement"][1]
    expected = stats.linregress(facts["first_order"], facts["exact"])
    assert found.loc[1, ["correlation", "slope"]].tolist() == pytest.approx([expected.rvalue, expected.slope])
    assert found["holds"].all()


def test_a_site_where_shuffled_effects_fail_is_marked_and_not_used():
    tables = effect_tables(with_effects(broken=["SE_3_1"]))
    assert tables["effect_agreement.csv"]["holds"].tolist() == [True, False, True]
    for name in ("effect_sites.csv", "effect_channels.csv.gz", "channel_effects.csv.gz"):
        assert tables[name]["site"].unique().tolist() == ["SE_2_1", "SK_4_1"], name
    assert set(tables["effect_sample.csv"]["site"]) == set(NAMES)


def test_where_no_site_holds_only_the_agreement_is_told():
    tables = effect_tables(with_effects(broken=NAMES))
    assert sorted(tables) == ["effect_agreement.csv", "effect_sample.csv"]
    finding = selective_channels_matter_more(tables)
    assert finding.verdict == "cannot be judged"
    assert finding.statement.startswith("First-order effects agree with exact replacement at no site")


def test_a_recording_without_effects_has_no_tables():
    class Plain:
        effects = {}  # noqa: RUF012

    assert effect_tables(Plain()) == {}
    assert selective_channels_matter_more({}) is None


def test_effects_of_channels_on_classes_are_those_of_their_images():
    recording = with_effects()
    table = channel_effects(recording, ["SE_2_1", "SK_4_1"])
    assert table.columns.tolist() == ["site", "branch", "channel", "class", "mean", "ci_low", "ci_high", "q"]
    assert len(table) == (8 + 12) * 8
    row = table.query("site == 'SK_4_1' and branch == 1 and channel == 4 and `class` == 'class 3'").iloc[0]
    test = stats.ttest_1samp(recording.effect["SK_4_1"]["class 3"][:, 1, 4], 0)
    limits = test.confidence_interval()
    raw = recording.effect["SK_4_1"]["class 3"][:, 1, 4]
    assert [row["mean"], row["ci_low"], row["ci_high"]] == pytest.approx(
        [raw.mean(), limits.low, limits.high], rel=1e-5
    )
    p = [
        stats.ttest_1samp(images, 0).pvalue
        for images in np.concatenate([values.T for values in _flat(recording, "SE_2_1")])
    ]
    expected = np.sort(stats.false_discovery_control(p))
    np.testing.assert_allclose(np.sort(table.loc[table["site"] == "SE_2_1", "q"]), expected, rtol=1e-5)


def _flat(recording, site):
    return [values.reshape(len(values), -1) for values in recording.effect[site].values()]


def test_many_classes_are_told_for_the_chosen_ones(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 100)
    assert channel_effects(with_effects())["class"].unique().tolist() == ["class 0", "class 1"]


def test_sites_and_channels_have_the_sizes_of_raw_effects():
    recording = with_effects()
    tables = effect_tables(recording)
    sizes = np.sqrt(np.mean([np.square(values).mean(axis=0) for values in _flat(recording, "SK_4_1")], axis=0))
    channels = tables["effect_channels.csv.gz"].query("site == 'SK_4_1'")
    np.testing.assert_allclose(channels["effect"], sizes)
    assert channels["branch"].tolist() == [0] * 6 + [1] * 6
    row = tables["effect_sites.csv"].iloc[2]
    assert row["effect"] == pytest.approx(sizes.mean())
    ordered = np.sort(sizes)[::-1]
    assert row["half_share"] == (np.cumsum(ordered) < sizes.sum() / 2).sum() / 12 + 1 / 12
    assert row["correlation"] == pytest.approx(stats.spearmanr(channels["omega_squared"], sizes).statistic)
    overall = tables["effect_overall.csv"].iloc[0]
    assert overall["correlation"] == pytest.approx(tables["effect_sites.csv"]["correlation"].mean())
    assert (overall["channels"], overall["sites"], overall["classes"]) == (28, 3, 8)


def test_the_finding_states_both_correlations_and_falls_with_either():
    tables = effect_tables(with_effects())
    row = {"correlation": 0.6, "ci_low": 0.5, "ci_high": 0.7}
    row |= {"partial": 0.5, "partial_ci_low": 0.4, "partial_ci_high": 0.6}
    verdicts = []
    for changed in ({}, {"partial": 0, "partial_ci_low": -0.1, "partial_ci_high": 0.1}, {"partial_ci_low": 0.2}):
        tables["effect_overall.csv"] = tables["effect_overall.csv"].assign(**(row | changed))
        verdicts.append(selective_channels_matter_more(tables).verdict)
    assert verdicts == ["supported", "not supported", "cannot be judged"]
    finding = selective_channels_matter_more(tables)
    assert finding.result.startswith("rank correlation 0.60 (0.50 to 0.70), 0.50 (0.20 to 0.60) with the gate's spread")
    assert finding.statement.startswith("Over 28 channels of 3 sites the size of the effect")
    assert finding.interval == (0.5, 0.7)
