"""Tidy curves and tables against the raw arrays, and on disk."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis import (
    class_statistics,
    class_table,
    default_within,
    excitation_curves,
    recording_tables,
    reference_statistics,
    sample_channels,
    select_classes,
    site_table,
    within_class_curves,
)
from se_probe.errors import SeProbeError
from se_probe.io.files import write_csv
from tests.analysis.raw_recording import GateSite, random_recording, resnet50_sites

COUNTS = {"goldfish": 5, "pug": 4, "airliner": 6, "cliff": 3, "tabby": 8}
CHOSEN = ["cliff", "goldfish", "airliner"]
RECORDING = random_recording([*resnet50_sites(12), GateSite("SK_5_4", 5, 4, 12, branches=2)], CHOSEN, COUNTS)


def test_one_row_a_site_channel_and_class():
    curves = excitation_curves(RECORDING, channels=7, sites=["SE_2_3", "SE_5_1"])
    assert list(curves.columns) == [
        "site", "stage", "block", "activation", "site_channels", "branch", "channel", "position",
        "class", "role", "count", "mean", "std", "standard_error",
    ]  # fmt: skip
    assert len(curves) == 2 * 7 * 4
    assert curves["class"].unique().tolist() == [*CHOSEN, "all classes (5)"]
    assert curves.loc[curves["class"] == "all classes (5)", "role"].unique().tolist() == ["reference"]
    assert curves.loc[curves["class"] == "cliff", "role"].unique().tolist() == ["class"]
    assert curves["branch"].unique().tolist() == [0]
    assert curves.loc[curves["site"] == "SE_5_1", ["stage", "block"]].drop_duplicates().values.tolist() == [[5, 1]]


def test_sampled_channels_stand_in_order_on_the_x_axis():
    curves = excitation_curves(RECORDING, channels=7, seed=5, sites=["SE_2_3"])
    one = curves[curves["class"] == "cliff"]
    assert one["channel"].tolist() == sample_channels(12, 7, 5).tolist()
    assert one["position"].tolist() == list(range(7))


@pytest.mark.parametrize("site", ["SE_4_6", "SK_5_4"])
def test_class_curves_are_statistics_of_the_images(site):
    curves = excitation_curves(RECORDING, sites=[site], channels=5, seed=2)
    for (name, branch), rows in curves[curves["role"] == "class"].groupby(["class", "branch"]):
        raw = RECORDING.raw[site][name][..., rows["channel"].to_numpy()]
        raw = raw[:, branch] if raw.ndim == 3 else raw
        np.testing.assert_allclose(rows["mean"], raw.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(rows["std"], raw.std(axis=0, ddof=1), rtol=1e-12)
        np.testing.assert_allclose(rows["standard_error"], raw.std(axis=0, ddof=1) / len(raw) ** 0.5, rtol=1e-12)
        assert rows["count"].unique().tolist() == [COUNTS[name]]


def test_reference_is_the_plain_mean_of_class_means():
    curves = excitation_curves(RECORDING, sites=["SE_3_4"], channels=None)
    rows = curves[curves["role"] == "reference"]
    expected = np.mean([raw.mean(axis=0) for raw in RECORDING.raw["SE_3_4"].values()], axis=0)
    np.testing.assert_allclose(rows["mean"], expected, rtol=1e-12)
    assert rows["count"].unique().tolist() == [26]


def test_default_sites_are_those_of_the_paper():
    recording = random_recording(resnet50_sites(), CHOSEN, COUNTS)
    curves = excitation_curves(recording)
    assert curves["site"].unique().tolist() == ["SE_2_3", "SE_3_4", "SE_4_6", "SE_5_1", "SE_5_2", "SE_5_3"]


def test_classes_can_be_others_than_the_chosen():
    curves = excitation_curves(RECORDING, sites=["SE_2_1"], classes=["tabby"])
    assert curves["class"].unique().tolist() == ["tabby", "all classes (5)"]


def test_both_branches_are_in_the_table_and_add_up_to_one():
    curves = excitation_curves(RECORDING, sites=["SK_5_4"])
    sums = curves.groupby(["class", "channel"])["mean"].sum()
    assert sorted(curves["branch"].unique()) == [0, 1]
    np.testing.assert_allclose(sums, 1, rtol=1e-12)


def test_within_class_has_the_paper_classes_and_no_reference():
    curves = within_class_curves(RECORDING, sites=["SE_5_2"], channels=6)
    assert curves["class"].unique().tolist() == ["goldfish", "airliner"]
    assert curves["role"].unique().tolist() == ["class"]
    one = curves[curves["class"] == "goldfish"]
    raw = RECORDING.raw["SE_5_2"]["goldfish"][:, one["channel"].to_numpy()]
    np.testing.assert_allclose(one["std"], raw.std(axis=0, ddof=1), rtol=1e-12)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (["pug", "airliner", "cliff", "goldfish"], ["goldfish", "airliner"]),
        (["goldfish", "cliff", "tabby"], ["goldfish", "cliff"]),
        (["banana"], ["banana"]),
    ],
)
def test_default_within(chosen, expected):
    assert default_within(chosen) == expected


def test_one_image_gives_a_mean_and_no_deviation():
    recording = random_recording([GateSite("SE_2_1", 2, 1, 4)], ["pug"], {"pug": 1, "cliff": 1})
    curves = excitation_curves(recording)
    assert curves["mean"].notna().all()
    assert curves["std"].isna().all()
    assert curves["standard_error"].isna().all()


SMALL = random_recording(
    [GateSite("SE_2_1", 2, 1, 6), GateSite("SK_2_2", 2, 2, 5, branches=3)],
    ["goldfish"],
    {"goldfish": 4, "pug": 9, "cliff": 3},
)


@pytest.mark.parametrize("site", ["SE_2_1", "SK_2_2"])
def test_every_class_has_the_statistics_of_its_images(site):
    result = class_statistics(SMALL.moments(site))
    for name, raw in SMALL.raw[site].items():
        one = result.sel({"class": name})
        assert int(one["count"]) == len(raw)
        np.testing.assert_allclose(one["mean"], raw.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(one["variance"], raw.var(axis=0, ddof=1), rtol=1e-12)
        np.testing.assert_allclose(one["standard_error"] ** 2, raw.var(axis=0, ddof=1) / len(raw), rtol=1e-12)


def test_dimensions_keep_their_order():
    assert class_statistics(SMALL.moments("SK_2_2"))["variance"].dims == ("class", "branch", "channel")


@pytest.mark.parametrize("site", ["SE_2_1", "SK_2_2"])
def test_reference_weighs_classes_equally(site):
    result = reference_statistics(SMALL.moments(site))
    means = [raw.mean(axis=0) for raw in SMALL.raw[site].values()]
    assert result["class"].values.tolist() == ["all classes (3)"]
    assert int(result["count"].item()) == 16
    np.testing.assert_allclose(result["mean"][0], sum(means) / 3, rtol=1e-12)


def test_reference_has_no_variance_when_a_class_has_one_image():
    recording = random_recording([GateSite("SE_2_1", 2, 1, 4)], ["goldfish"], {"goldfish": 5, "pug": 1})
    result = reference_statistics(recording.moments("SE_2_1"))
    assert np.isnan(result["variance"]).all()
    assert np.isnan(result["standard_error"]).all()
    assert np.isfinite(result["mean"]).all()


def test_classes_come_in_the_order_asked_for():
    chosen = select_classes(SMALL.moments("SE_2_1"), ["cliff", "goldfish"])
    assert chosen["class"].values.tolist() == ["cliff", "goldfish"]
    assert chosen["count"].values.tolist() == [3, 4]


def test_unknown_class_is_named():
    with pytest.raises(SeProbeError) as error:
        select_classes(SMALL.moments("SE_2_1"), ["goldfish", "plane"])
    assert str(error.value) == (
        "class 'plane' is not among the 3 classes of the recording; choose one that is, or record it with --classes"
    )


TABLE_SITES = [GateSite("SE_2_1", 2, 1, 6), GateSite("SK_3_1", 3, 1, 4, branches=2, family="SK", reduction=None)]
TABLED = random_recording(TABLE_SITES, ["pug", "goldfish"], {"goldfish": 4, "pug": 9, "cliff": 3})


def test_class_table_covers_every_site_branch_and_channel():
    table = class_table(TABLED)
    assert len(table) == (6 + 2 * 4) * 3
    assert table["class"].unique().tolist() == ["pug", "goldfish", "all classes (3)"]
    for (site, name), rows in table[table["role"] == "class"].groupby(["site", "class"]):
        raw = TABLED.raw[site][name].reshape(len(TABLED.raw[site][name]), -1)
        np.testing.assert_allclose(rows["mean"], raw.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(rows["variance"], raw.var(axis=0, ddof=1), rtol=1e-12)


def test_site_table_summarises_each_site():
    table = site_table(TABLED).set_index("site")
    raw = list(TABLED.raw["SE_2_1"].values())
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
    assert site_table(TABLED).set_index("site").loc["SK_3_1", "mean"] == pytest.approx(0.5, rel=1e-12)


def test_image_spread_uses_the_classes_that_have_one():
    recording = random_recording(TABLE_SITES[:1], ["pug"], {"pug": 7, "cliff": 1})
    row = site_table(recording).iloc[0]
    expected = recording.raw["SE_2_1"]["pug"].var(axis=0, ddof=1).mean() ** 0.5
    assert row["within_class_sd"] == pytest.approx(expected, rel=1e-12)


def test_spreads_that_do_not_exist_are_nan():
    row = site_table(random_recording(TABLE_SITES[:1], ["pug"], {"pug": 1})).iloc[0]
    assert np.isnan(row["between_class_sd"])
    assert np.isnan(row["within_class_sd"])


def test_written_tables_read_back_exactly(tmp_path):
    tables = recording_tables(TABLED)
    assert list(tables) == ["sites.csv", "class_statistics.csv.gz"]
    for name, table in tables.items():
        write_csv(table, tmp_path / name)
        read = pd.read_csv(tmp_path / name, converters={"mean": float})
        pd.testing.assert_frame_equal(read, table, rtol=1e-13, atol=0, check_dtype=False)
        assert read["mean"].tolist() == table["mean"].tolist()
