"""Covariates and known factors: explained shares are found, files are read or refused."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.covariates import factor_tables, image_covariates, read_factors, site_covariates
from se_probe.analysis.stats.regression import explained_by_column, explained_share
from se_probe.errors import SeProbeError
from tests.analysis.raw_recording import GateSite, RawRecording

IMAGES = 40


def recording(brightness, weight):
    """Two classes whose gates follow the brightness of the image, in half of the channels."""
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.normal(size=(2 * IMAGES, 8))
    noise[:, :4] += weight * (brightness - brightness.mean())[:, None]
    raw = {"a": 0.4 + noise[:IMAGES], "b": 0.6 + noise[IMAGES:]}
    return RawRecording([GateSite("SE_2_1", 2, 1, 8)], ["a", "b"], {"SE_2_1": raw})


def test_covariates_of_plain_images_by_hand():
    pixels = np.zeros((3, 3, 2, 2))
    pixels[0] = 0.5
    pixels[1, :, 0] = 1.0
    pixels[2, 0] = 1.0
    table = image_covariates(pixels)
    np.testing.assert_allclose(table["brightness"], [0.5, 0.5, 0.299])
    np.testing.assert_allclose(table["contrast"], [0, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(table["red_green"], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(table["blue_yellow"], [0, 0, -0.5], atol=1e-12)


def test_the_share_that_brightness_explains_is_found_and_given_to_it():
    pixels = np.random.default_rng(1).uniform(size=(2 * IMAGES, 3, 1, 1)) * np.ones((1, 1, 4, 4))
    pixels += 0.05 * np.random.default_rng(2).normal(size=(2 * IMAGES, 3, 4, 4))
    table = image_covariates(pixels)
    brightness = table["brightness"].to_numpy()
    made = recording(brightness, 0.4)
    row = site_covariates(made, table).iloc[0]
    labels = np.repeat([0, 1], IMAGES)
    values = np.concatenate(list(made.raw["SE_2_1"].values())).astype(np.float32)
    assert row["explained"] == pytest.approx(explained_share(values, labels, table.to_numpy()), rel=1e-6)
    assert row["explained_by_brightness"] == pytest.approx(
        explained_share(values, labels, brightness[:, None]), rel=1e-6
    )
    assert row["explained"] > 0.3
    assert row["explained_by_contrast"] < 0.1
    unmoved = site_covariates(recording(brightness, 0.0), table).iloc[0]
    assert abs(unmoved["explained"]) < 0.1


def test_an_image_without_covariates_is_named():
    table = pd.DataFrame({"brightness": np.arange(70.0)})
    with pytest.raises(SeProbeError) as error:
        site_covariates(recording(np.zeros(80), 0.0), table)
    assert "10 of 80 images" in str(error.value)
    assert "image 70" in str(error.value)


PER_CLASS, CHANNELS = 60, 12
LABELS = np.repeat([0, 1], PER_CLASS)


def factors(seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, 2 * PER_CLASS)
    return pd.DataFrame(
        {
            "size": rng.uniform(size=2 * PER_CLASS),
            "light.sin": np.sin(angle),
            "light.cos": np.cos(angle),
            "ground": rng.choice(["plain", "grass", "stripes"], 2 * PER_CLASS),
        }
    )


def factor_recording(table):
    """Channels 0–3 follow size, 4–7 the ground and the light, 8–11 nothing."""
    rng = np.random.default_rng(1)
    values = 0.1 * rng.normal(size=(2 * PER_CLASS, CHANNELS))
    values[:, :4] += 0.5 * table["size"].to_numpy()[:, None]
    ground = table["ground"].map({"plain": 0.0, "grass": 0.2, "stripes": -0.2}).to_numpy()
    values[:, 4:8] += (ground + 0.2 * table["light.cos"].to_numpy())[:, None]
    raw = {"a": 0.3 + values[:PER_CLASS], "b": 0.6 + values[PER_CLASS:]}
    return RawRecording([GateSite("SE_2_1", 2, 1, CHANNELS)], ["a", "b"], {"SE_2_1": raw}), values


def by_least_squares(gate, columns):
    """Adjusted R² of one channel with an intercept a class, by numpy's least squares."""
    classes = (LABELS[:, None] == [0, 1]).astype(float)
    full = np.column_stack([classes, columns])
    rest = gate - full @ np.linalg.lstsq(full, gate, rcond=None)[0]
    within = gate - classes @ np.linalg.lstsq(classes, gate, rcond=None)[0]
    free = len(gate) - 2
    return 1 - (rest @ rest / (free - columns.shape[1])) / (within @ within / free)


def test_shares_are_those_of_least_squares_and_go_to_the_factor_that_acts():
    table = factors()
    made, values = factor_recording(table)
    found = factor_tables(made, table, permutations=499)
    channels = found["channel_factors.csv.gz"].set_index(["factor", "channel"])
    columns = {
        "size": table[["size"]].to_numpy(),
        "light": table[["light.sin", "light.cos"]].to_numpy(),
        "ground": pd.get_dummies(table["ground"]).to_numpy(dtype=float)[:, 1:],
    }
    for name, own in columns.items():
        expected = [by_least_squares(values[:, channel], own) for channel in range(CHANNELS)]
        np.testing.assert_allclose(channels.loc[name, "share"], expected, atol=1e-5)
    assert (channels.loc["size", "share"][:4] > 0.5).all()
    assert (channels.loc["size", "q"][:4] <= 0.05).all()
    assert channels.loc["size", "share"][4:].abs().max() < 0.15
    assert (channels.loc["ground", "q"][4:8] <= 0.05).all()
    sites = found["site_factors.csv"].set_index("factor")["share"]
    everything = np.column_stack(list(columns.values()))
    assert sites["all factors"] == pytest.approx(explained_share(values, LABELS, everything), abs=1e-5)


def test_p_holds_its_level_where_nothing_acts_and_gates_are_not_normal():
    rng = np.random.default_rng(2)
    gates = rng.lognormal(sigma=1.5, size=(2 * PER_CLASS, 1500))
    order = rng.permutation(2 * PER_CLASS)
    share, p = explained_by_column(gates[order], LABELS[order], rng.normal(size=(2 * PER_CLASS, 2)), permutations=499)
    for level in (0.05, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 1500))
    assert abs(np.mean(share)) < 0.005


def test_a_gate_that_does_not_move_within_classes_has_neither_share_nor_p():
    gates = np.column_stack([0.1 + 0.7 * LABELS, np.random.default_rng(3).normal(size=2 * PER_CLASS)])
    share, p = explained_by_column(
        gates, LABELS, np.random.default_rng(4).normal(size=(2 * PER_CLASS, 1)), permutations=9
    )
    assert np.isnan(share).tolist() == [True, False]
    assert np.isnan(p).tolist() == [True, False]


TABLE = pd.DataFrame({"path": ["x/1.png", "x/2.png", "y/3.png"]}, index=[4, 7, 9])


@pytest.mark.parametrize("names", [["x/1.png", "y/3.png", "x/2.png"], ["1.png", "3.png", "2.png"]])
def test_a_file_is_read_by_path_or_file_name_in_the_order_of_the_images(tmp_path, names):
    file = tmp_path / "factors.csv"
    pd.DataFrame({"path": names, "size": [1.0, 3.0, 2.0], "kind": ["a", "c", "b"]}).to_csv(file, index=False)
    table = read_factors(file, TABLE)
    assert table.index.tolist() == [4, 7, 9]
    assert table["size"].tolist() == [1, 2, 3]
    assert table["kind"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,size\nx/1.png,1\n", "expected path"),
        ("path\nx/1.png\n", "one column per factor"),
        ("path,size\nx/1.png,1\nx/1.png,2\n", "more than once"),
        ("path,size\nx/1.png,1\nx/2.png,2\n", "y/3.png"),
        ("path,size\nx/1.png,1\nx/2.png,\ny/3.png,2\n", "size"),
        ("path,size\nx/1.png,1\nx/2.png,inf\ny/3.png,2\n", "size"),
        ("", "cannot be read"),
    ],
)
def test_a_file_that_cannot_serve_is_refused_with_what_is_wrong(tmp_path, text, told):
    file = tmp_path / "factors.csv"
    file.write_text(text)
    with pytest.raises(SeProbeError, match=told) as error:
        read_factors(file, TABLE)
    assert "\n" not in str(error.value)


def test_an_image_without_factors_is_named():
    made, _ = factor_recording(factors())
    with pytest.raises(SeProbeError, match="10 of 120 images have no covariates, the first of them image 110"):
        factor_tables(made, factors()[:110])
