"""All measures as tables."""

import pandas as pd

from se_probe.analysis.measures import measure_tables
from se_probe.analysis.specificity import channel_specificity, site_specificity
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
