"""Class means with their intervals, under the right names."""

import numpy as np
import pytest

from se_probe.analysis.intervals import class_mean_intervals
from tests.analysis.raw_recording import mixed_recording

RECORDING = mixed_recording()


def test_one_row_a_site_class_branch_and_channel():
    table = class_mean_intervals(RECORDING, ["SE_2_1", "SK_4_1"], resamples=199)
    assert len(table) == 2 * 3 * 6
    assert table["class"].unique().tolist() == RECORDING.chosen
    for row in table[table["site"] == "SK_4_1"].itertuples():
        raw = RECORDING.raw["SK_4_1"][row[2]][:, row.branch, row.channel]
        assert row.mean == pytest.approx(raw.mean(), rel=1e-6)
        assert row.count == len(raw)
        error = raw.std(ddof=1) / np.sqrt(len(raw))
        assert row.low == pytest.approx(raw.mean() - 2 * error, abs=0.6 * error)
        assert row.high == pytest.approx(raw.mean() + 2 * error, abs=0.6 * error)
