"""All measures on disk."""

import pandas as pd

from se_probe.analysis.measures import measure_tables, write_measures
from se_probe.analysis.specificity import channel_specificity, site_specificity
from tests.analysis.raw_recording import RawRecording, mixed_recording


def test_tables_are_tidy_carry_the_spread_and_read_back(tmp_path):
    recording = mixed_recording()
    small = RawRecording(recording.sites[:2], recording.chosen, recording.raw)
    tables = measure_tables(small)
    paths = write_measures(tables, tmp_path / "tables")
    assert [path.name for path in paths] == list(tables)
    for path, table in zip(paths, tables.values(), strict=True):
        assert {"between_class_sd", "within_class_sd"} < set(table.columns)
        assert len(table) == (12 if path.name.startswith("channel") else 2)
        read = pd.read_csv(path)
        pd.testing.assert_frame_equal(read, table, check_dtype=False, rtol=1e-14, atol=0)


def test_specificity_is_the_same_whether_shuffled_once_or_table_by_table():
    recording = mixed_recording()
    tables = measure_tables(recording)
    pd.testing.assert_frame_equal(tables["site_specificity.csv"], site_specificity(recording))
    pd.testing.assert_frame_equal(tables["channel_specificity.csv.gz"], channel_specificity(recording))
