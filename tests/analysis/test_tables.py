"""Tables against the raw arrays, and on disk."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis import class_table, recording_tables, site_table
from se_probe.io.files import write_csv
from tests.analysis.stand_in import Site, StandIn

SITES = [Site("SE_2_1", 2, 1, 6), Site("SK_3_1", 3, 1, 4, branches=2, family="SK", reduction=None)]
RECORDING = StandIn(SITES, ["pug", "goldfish"], {"goldfish": 4, "pug": 9, "cliff": 3})


def test_class_table_covers_every_site_branch_and_channel():
    table = class_table(RECORDING)
    assert len(table) == (6 + 2 * 4) * 3
    assert table["class"].unique().tolist() == ["pug", "goldfish", "all classes (3)"]
    for (site, name), rows in table[table["role"] == "class"].groupby(["site", "class"]):
        raw = RECORDING.raw[site][name].reshape(len(RECORDING.raw[site][name]), -1)
        np.testing.assert_allclose(rows["mean"], raw.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(rows["variance"], raw.var(axis=0, ddof=1), rtol=1e-12)


def test_site_table_summarises_each_site():
    table = site_table(RECORDING).set_index("site")
    raw = list(RECORDING.raw["SE_2_1"].values())
    means = np.stack([one.mean(axis=0) for one in raw])
    row = table.loc["SE_2_1"]
    assert (row["family"], row["channels"], row["classes"], row["images"]) == ("SE", 6, 3, 16)
    assert row["mean"] == pytest.approx(means.mean(), rel=1e-12)
    assert row["channel_sd"] == pytest.approx(means.mean(axis=0).std(ddof=1), rel=1e-12)
    noise = np.mean([one.var(axis=0, ddof=1) / len(one) for one in raw])
    between = max(means.var(axis=0, ddof=1).mean() - noise, 0.0)
    assert row["between_class_sd"] == pytest.approx(between**0.5, rel=1e-9)
    within = np.mean([one.var(axis=0, ddof=1) for one in raw])
    assert row["within_class_sd"] == pytest.approx(within**0.5, rel=1e-12)
    assert (row["lowest"], row["highest"]) == (means[:2].min(), means[:2].max())


def test_branches_of_a_softmax_average_to_their_share():
    assert site_table(RECORDING).set_index("site").loc["SK_3_1", "mean"] == pytest.approx(0.5, rel=1e-12)


def test_image_spread_uses_the_classes_that_have_one():
    recording = StandIn(SITES[:1], ["pug"], {"pug": 7, "cliff": 1})
    row = site_table(recording).iloc[0]
    expected = recording.raw["SE_2_1"]["pug"].var(axis=0, ddof=1).mean() ** 0.5
    assert row["within_class_sd"] == pytest.approx(expected, rel=1e-12)


def test_spreads_that_do_not_exist_are_nan():
    row = site_table(StandIn(SITES[:1], ["pug"], {"pug": 1})).iloc[0]
    assert np.isnan(row["between_class_sd"])
    assert np.isnan(row["within_class_sd"])


def test_written_tables_read_back_exactly(tmp_path):
    tables = recording_tables(RECORDING)
    assert list(tables) == ["sites.csv", "class_statistics.csv.gz"]
    for name, table in tables.items():
        write_csv(table, tmp_path / name)
        read = pd.read_csv(tmp_path / name, converters={"mean": float})
        pd.testing.assert_frame_equal(read, table, rtol=1e-13, atol=0, check_dtype=False)
        assert read["mean"].tolist() == table["mean"].tolist()
