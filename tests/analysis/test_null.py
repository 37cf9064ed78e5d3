"""A null recording beside the real one: the right numbers by site, and only of the same sites and images."""

import numpy as np
import pytest

from se_probe.analysis.measures import measure_tables
from se_probe.analysis.null import NULL_COLUMNS, beside_null
from se_probe.errors import SeProbeError
from tests.analysis.raw_recording import RawRecording, mixed_recording

REAL, NULL = measure_tables(mixed_recording(0)), measure_tables(mixed_recording(1))


def test_the_null_stands_beside_the_real_numbers_by_site():
    tables = beside_null(REAL, NULL)
    assert list(tables) == list(REAL)
    for name, columns in NULL_COLUMNS.items():
        assert tables[name]["site"].tolist() == REAL[name]["site"].tolist()
        for column in columns:
            np.testing.assert_array_equal(tables[name][f"null_{column}"], NULL[name][column])
            np.testing.assert_array_equal(tables[name][column], REAL[name][column])
    assert tables["site_health.csv"] is REAL["site_health.csv"]


def test_other_sites_or_images_are_refused():
    fewer = mixed_recording(1)
    one = RawRecording(fewer.sites[:1], fewer.chosen, fewer.raw, fewer.wnids)
    with pytest.raises(SeProbeError, match="sites SE_2_1; expected SE_2_1, SE_3_1") as error:
        beside_null(REAL, measure_tables(one))
    assert "fresh weights" in str(error.value)
    without = {
        site: {name: gates for name, gates in raw.items() if name != "banana"} for site, raw in fewer.raw.items()
    }
    with pytest.raises(SeProbeError, match="5 classes at SE_2_1; expected 6"):
        beside_null(REAL, measure_tables(RawRecording(fewer.sites, fewer.chosen, without, fewer.wnids)))
