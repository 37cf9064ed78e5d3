"""All measures as tables."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.measures import NULL_COLUMNS, beside_null, measure_tables
from se_probe.analysis.specificity import channel_specificity, site_specificity
from se_probe.errors import SeProbeError
from tests.analysis.raw_recording import RawRecording, mixed_recording


def test_tables_are_tidy_and_carry_the_spread():
    recording = mixed_recording()
    small = RawRecording(recording.sites[:2], recording.chosen, recording.raw)
    tables = measure_tables(small)
    for name, table in tables.items():
        assert {"between_class_sd", "within_class_sd"} < set(table.columns)
        assert len(table) == (12 if name.startswith("channel") else 2)


def test_specificity_is_the_same_whether_shuffled_once_or_table_by_table():
    recording = mixed_recording()
    tables = measure_tables(recording)
    pd.testing.assert_frame_equal(tables["site_specificity.csv"], site_specificity(recording))
    pd.testing.assert_frame_equal(tables["channel_specificity.csv.gz"], channel_specificity(recording))


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
