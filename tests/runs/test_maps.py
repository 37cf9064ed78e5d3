"""The verb `maps` on a run of the demo."""

import numpy as np
import pandas as pd
import pytest
import torch

import se_probe
from se_probe.errors import SeProbeError

QUIET = {"progress": False, "workers": 0, "report": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("maps") / "run"
    se_probe.excite("goldfish,pug", demo=True, per_class=4, reference_per_class=0, out=out, **QUIET)
    return out


@pytest.fixture(scope="module")
def mapped(run):
    return se_probe.maps(run, sites=["SE_4_1", "SE_5_3"], channels=[3, 17], images=4, **QUIET)


def test_table_and_figures_are_in_the_folder_of_the_run(run, mapped):
    assert mapped.path == run
    table = pd.read_csv(run / "tables" / "gate_map_faithfulness.csv")
    pd.testing.assert_frame_equal(table, mapped.faithfulness)
    assert table["site"].tolist() == ["SE_4_1", "SE_5_3"]
    assert table[["images", "channels"]].drop_duplicates().to_numpy().tolist() == [[4, 4]]
    assert list(mapped.figures) == ["SE_4_1", "SE_5_3"]
    for site in mapped.figures:
        assert (run / "figures" / f"gate_maps.{site}.svg").is_file()


def test_the_numbers_behind_a_figure_are_the_shares_and_the_recorded_gates(run, mapped):
    numbers = pd.read_csv(run / "figures" / "gate_maps.SE_5_3.csv")
    assert numbers["channel"].unique().tolist() == [3, 17]
    gates = se_probe.open_recording(run).gates("SE_5_3").to_numpy()
    for channel, rows in numbers.groupby("channel"):
        one = rows.groupby("path", sort=False).agg(gate=("gate", "first"), logit=("logit", "first"))
        np.testing.assert_allclose(one["gate"], 1 / (1 + np.exp(-one["logit"])), atol=1e-5)
        np.testing.assert_allclose(one["gate"].max(), gates[:, channel].max(), atol=1e-6)
        whole = rows.groupby("path")["share"].sum() + rows.groupby("path")["bias"].first()
        np.testing.assert_allclose(whole, rows.groupby("path")["logit"].first(), atol=1e-4)


def test_a_channel_that_no_site_has_is_refused(run):
    with pytest.raises(SeProbeError, match=r"^channels 99999 of SE_5_3 were asked for; it has 0 to \d+\.$"):
        se_probe.maps(run, sites=["SE_5_3"], channels=[99999], images=2, **QUIET)
