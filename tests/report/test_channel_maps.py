"""Maps on a page are those of the file, up to their rounding, and lie over pixels only where that was shown."""

import base64

import numpy as np
import pandas as pd
import pytest

from se_probe.recording import open_recording
from se_probe.report.channel_maps import (
    FAITHFULNESS,
    FILE,
    SiteMaps,
    coarse,
    maps_data,
    maps_file,
    notable,
    read_maps,
)
from tests.report.test_explorer import codes, unpacked

PLACES = {10: 0, 11: 1, 12: 2, 13: 3}


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    one = SiteMaps(np.array([3, 0]), np.array([[12, 10], [11, 13]]), rng.normal(size=(2, 2, 3, 4)).astype(np.float32))
    two = SiteMaps(np.array([5]), np.array([[10, 11]]), np.zeros((1, 2, 2, 2), dtype=np.float32))
    return {"SE_2_1": one, "SK_3_1": two}


@pytest.fixture
def tables(tmp_path, maps):
    (tmp_path / FILE).write_bytes(maps_file(maps))
    rows = [{"site": "SE_2_1", "better_than_random": True}, {"site": "SK_3_1", "better_than_random": False}]
    pd.DataFrame(rows).to_csv(tmp_path / FAITHFULNESS, index=False)
    return tmp_path


class Recorded:
    """What `maps_data` reads of a recording."""

    def __init__(self, **preprocessing):
        self.provenance = {"model": {"preprocessing": preprocessing}}


CENTRAL = Recorded(crop_pct=0.875, crop_mode="center", input_size=[3, 32, 32])


def test_maps_are_read_as_they_were_written(tables, maps):
    read = read_maps(tables)
    assert list(read) == list(maps)
    for site, item in maps.items():
        for name, values in vars(item).items():
            np.testing.assert_array_equal(getattr(read[site], name), values)


def test_codes_are_the_maps_up_to_a_254th_of_the_largest_value(tables, maps):
    data = maps_data(CENTRAL, tables, PLACES)
    site = data["sites"]["SE_2_1"]
    assert site["channels"] == [3, 0]
    assert site["shape"] == [2, 3, 4]
    assert codes(site["images"]).tolist() == [2, 0, 1, 3]
    limits = unpacked(site["limits"], 2)
    raw = np.frombuffer(base64.b64decode(site["codes"]), dtype=np.uint8).reshape(2, 2, 3, 4)
    shares = (raw.astype(float) - 128) / 127 * limits[:, None, None, None]
    np.testing.assert_allclose(shares, maps["SE_2_1"].maps, atol=limits.max() / 253)
    assert set(base64.b64decode(data["sites"]["SK_3_1"]["codes"])) == {128}
    assert len(base64.b64decode(data["palette"])) % 3 == 0


def test_over_pixels_only_where_masking_says_so(tables):
    data = maps_data(CENTRAL, tables, PLACES)
    assert data["crop"] == 0.875
    assert [site["inPixels"] for site in data["sites"].values()] == [True, False]
    (tables / FAITHFULNESS).unlink()
    assert not any(site["inPixels"] for site in maps_data(CENTRAL, tables, PLACES)["sites"].values())


@pytest.mark.parametrize(
    "preprocessing",
    [
        {"source": "a function"},
        {"crop_pct": 0.9, "crop_mode": "border", "input_size": [3, 32, 32]},
        {"crop_pct": 0.9, "input_size": [3, 32, 48]},
    ],
)
def test_not_over_pixels_whose_place_is_not_known(tables, preprocessing):
    data = maps_data(Recorded(**preprocessing), tables, PLACES)
    assert data["crop"] is None
    assert not data["sites"]["SE_2_1"]["inPixels"]


def test_maps_of_images_that_are_not_kept_are_left_out(tables):
    assert list(maps_data(CENTRAL, tables, {10: 0, 11: 1})["sites"]) == ["SK_3_1"]


def test_a_run_without_maps_has_none(tmp_path, plain_run):
    assert maps_data(open_recording(plain_run), tmp_path, PLACES) is None


def test_fine_maps_are_added_up_in_blocks():
    shares = np.random.default_rng(0).normal(size=(32, 20)).astype(np.float32)
    found = coarse(shares)
    assert found.shape == (16, 10)
    assert found[3, 4] == pytest.approx(shares[6:8, 8:10].sum(), abs=1e-6)
    assert coarse(shares[:16, :7]).shape == (16, 7)
    assert coarse(np.ones((33, 33), dtype=np.float32)).sum() == 33 * 33


def test_notable_channels_are_taken_in_turn():
    assert notable([4, 1, 2], [1, 7], np.array([9]), count=5) == [4, 1, 9, 7, 2]
    assert notable([], count=3) == []
