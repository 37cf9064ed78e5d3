"""The null beside a run: its own recording, its numbers in the tables, and the properties of the images."""

import numpy as np
import pandas as pd
import pytest

import se_probe
from se_probe.analysis import image_covariates, measure_tables, site_covariates
from se_probe.images import demo_images
from se_probe.images.decode import decode_rgb
from tests.runs.noise import QUIET


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("null") / "run"
    se_probe.excite("goldfish,pug", demo=True, per_class=6, reference_per_class=6, null=True, out=folder, **QUIET)
    return folder


def test_the_null_has_seen_the_same_images_with_other_weights(run):
    real, null = se_probe.open_recording(run), se_probe.open_recording(run / "null.zarr")
    assert null.images["path"].tolist() == real.images["path"].tolist()
    assert null.provenance["model"]["weights"] == "fresh (seed 0)"
    assert not np.allclose(null.gates("SE_5_3").values, real.gates("SE_5_3").values, atol=0.01)


def test_its_numbers_stand_beside_the_real_ones(run):
    null = measure_tables(se_probe.open_recording(run / "null.zarr"))["site_specificity.csv"]
    table = pd.read_csv(run / "tables" / "site_specificity.csv")
    np.testing.assert_allclose(table["null_omega_squared"], null["omega_squared"], rtol=1e-9)
    page = (run / "report.html").read_text()
    assert "With fresh weights and the same images" in page


def test_what_brightness_contrast_and_colour_explain_is_that_of_the_images(run):
    recording = se_probe.open_recording(run)
    images = recording.images.loc[recording.gates("SE_2_1")["image"].values]
    source = demo_images().source
    pixels = [np.asarray(decode_rgb(lambda path=path: source.open(path))) for path in images["path"]]
    rows = image_covariates(np.stack(pixels).transpose(0, 3, 1, 2) / 255).set_index(images.index)
    expected = site_covariates(recording, rows)
    found = pd.read_csv(run / "tables" / "site_covariates.csv")
    np.testing.assert_allclose(found["explained"], expected["explained"], rtol=1e-9)
