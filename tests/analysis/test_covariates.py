"""Covariates of images, and the share of gates within classes that they explain."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.covariates import image_covariates, site_covariates
from se_probe.analysis.stats.regression import explained_share
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
