"""The dictionary says what the tables of the run say of each channel, and what is missing is left out."""

import numpy as np
import pandas as pd
import pytest

from se_probe.recording import open_recording
from se_probe.report.dictionary import CLASSES, MOST_FACTORS, NEIGHBOURS, dictionary_data
from tests.report.test_explorer import codes, unpacked

NONE = 65535


@pytest.fixture(scope="module")
def recording(plain_run):
    return open_recording(plain_run)


@pytest.fixture
def tables(tmp_path, recording):
    """Tables of the second site, which has two branches of six channels, in an order of chance."""
    rng = np.random.default_rng(0)
    rows = [{"site": "SK_3_1", "branch": b, "channel": c} for b in range(2) for c in range(6)]
    words = pd.DataFrame(rows).assign(word=None, auc=0.7, sibling_auc=np.nan, difference=0.25, q=0.5)
    words.loc[8, ["word", "auc", "sibling_auc", "q"]] = ["dog", 0.95, 0.875, 0.01]
    words.sample(frac=1, random_state=0).to_csv(tmp_path / "channel_words.csv.gz", index=False)
    effects = pd.DataFrame([{**row, "class": name} for row in rows for name in ("pug", "cliff", "tabby", "snail")])
    mean = rng.normal(size=len(effects))
    effects = effects.assign(mean=mean, ci_low=mean - 0.5, ci_high=mean + 0.5, q=rng.choice([0.01, 0.2], len(effects)))
    effects.sample(frac=1, random_state=1).to_csv(tmp_path / "channel_effects.csv.gz", index=False)
    factors = pd.DataFrame([{**row, "factor": name} for row in rows for name in ("size", "hue")])
    share, q = rng.uniform(size=len(factors)), rng.choice([0.01, 0.2], len(factors))
    factors.assign(share=share, q=q).to_csv(tmp_path / "channel_factors.csv.gz", index=False)
    return tmp_path


def test_a_word_comes_with_its_evidence(recording, tables):
    data = dictionary_data(recording, tables)
    assert data["words"] == ["dog"]
    word = data["sites"][1]["word"]
    assert np.flatnonzero(codes(word["codes"]) == 0).tolist() == [8]
    assert np.flatnonzero(codes(word["codes"]) == NONE).tolist() == [place for place in range(12) if place != 8]
    found = {name: unpacked(word[name], 12) for name in ("auc", "sibling_auc", "difference", "q")}
    assert [found[name][8] for name in found] == pytest.approx([0.95, 0.875, 0.25, 0.01], abs=1e-4)
    assert np.isnan(found["sibling_auc"][:8]).all()
    assert data["sites"][0]["word"] is None


def test_effects_are_the_largest_of_those_that_are_no_false_discoveries(recording, tables):
    data = dictionary_data(recording, tables)
    part, table = data["sites"][1]["effects"], pd.read_csv(tables / "channel_effects.csv.gz")
    shape = (2, 6, 2, CLASSES)
    places, means, halves = (
        codes(part["codes"]).reshape(shape),
        unpacked(part["mean"], *shape),
        unpacked(part["half"], *shape),
    )
    for (branch, channel), rows in table.groupby(["branch", "channel"]):
        kept = rows[rows["q"] <= 0.05].set_index("class")["mean"]
        for side, wanted in enumerate([kept[kept < 0].nsmallest(CLASSES), kept[kept > 0].nlargest(CLASSES)]):
            named = [data["classes"][place] for place in places[branch, channel, side] if place != NONE]
            assert named == list(wanted.index)
            assert means[branch, channel, side, : len(wanted)] == pytest.approx(wanted.to_numpy(), abs=1e-4)
            assert halves[branch, channel, side, : len(wanted)] == pytest.approx(0.5, abs=1e-4)
            assert np.isnan(means[branch, channel, side, len(wanted) :]).all()


def test_factors_that_explain_something(recording, tables):
    data = dictionary_data(recording, tables)
    part, table = data["sites"][1]["factors"], pd.read_csv(tables / "channel_factors.csv.gz")
    places, shares = codes(part["codes"]).reshape(12, MOST_FACTORS), unpacked(part["share"], 12, MOST_FACTORS)
    for row, (_, rows) in enumerate(table.groupby(["branch", "channel"])):
        kept = rows[rows["q"] <= 0.05].nlargest(MOST_FACTORS, "share")
        assert [data["factors"][place] for place in places[row] if place != NONE] == list(kept["factor"])
        assert shares[row, : len(kept)] == pytest.approx(kept["share"].to_numpy(), abs=1e-4)


class Livelier:
    """The recording with gates that move a thousand times as far."""

    def __init__(self, recording):
        self.sites, self.effects, self._gates = recording.sites, recording.effects, recording.gates

    def gates(self, site):
        return 1000 * self._gates(site)


def test_neighbours_are_channels_of_the_same_branch_that_correlate(recording, tmp_path):
    recording = Livelier(recording)
    data = dictionary_data(recording, tmp_path)
    part = data["sites"][1]["neighbours"]
    places, r = codes(part["codes"]).reshape(2, 6, NEIGHBOURS), unpacked(part["r"], 2, 6, NEIGHBOURS)
    gates = recording.gates("SK_3_1").to_numpy().astype(np.float64)
    assert (places != NONE).any()
    for branch in range(2):
        expected = np.corrcoef(gates[:, branch].T)
        for channel, index in np.argwhere(places[branch] != NONE):
            other = places[branch, channel, index]
            assert other != channel
            assert r[branch, channel, index] == pytest.approx(expected[channel, other], abs=1e-4)
            assert abs(expected[channel, other]) >= data["sites"][1]["byChance"] - 1e-4


def test_a_run_without_tables_has_neighbours_alone(recording, tmp_path):
    data = dictionary_data(recording, tmp_path)
    assert (data["words"], data["classes"], data["factors"], data["maps"]) == ([], [], [], None)
    for site in data["sites"]:
        assert (site["word"], site["effects"], site["factors"], site["unsuitable"]) == (None, None, None, False)


def test_sites_at_which_the_first_order_does_not_hold_are_named(recording, tmp_path):
    rows = [{"site": "SE_2_1", "holds": False}, {"site": "SK_3_1", "holds": True}]
    pd.DataFrame(rows).to_csv(tmp_path / "effect_agreement.csv", index=False)
    assert [site["unsuitable"] for site in dictionary_data(recording, tmp_path)["sites"]] == [True, False]
