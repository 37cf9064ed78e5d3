"""The verb `maps` on a run of the demo, and the maps that it keeps for the report."""

import numpy as np
import pandas as pd
import pytest
import torch

import se_probe
from se_probe.errors import SeProbeError
from se_probe.images import batches, demo_images, select
from se_probe.models import load_model
from se_probe.report.channel_maps import coarse
from se_probe.runs.maps import channel_maps

SITE = "SE_4_2"
QUIET = {"progress": False, "workers": 0, "report": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("maps") / "run"
    se_probe.excite("goldfish,pug", demo=True, per_class=8, reference_per_class=0, out=out, **QUIET)
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
    with pytest.raises(SeProbeError, match=r"^channels 99999 of SE_5_3 were requested; it has 0 to \d+\.$"):
        se_probe.maps(run, sites=["SE_5_3"], channels=[99999], images=2, **QUIET)


def test_maps_for_the_report_are_those_of_the_images_at_both_ends(run):
    recording = se_probe.open_recording(run)
    model, images = load_model("demo:se"), demo_images()
    selection = select(images, images.classes, per_class=8, reference_per_class=0)
    mapper = se_probe.GateMapper(model.network, [SITE], input_size=model.input_size)
    found = channel_maps(recording, model, selection, mapper, batch_size=7)[SITE]

    gates = recording.gates(SITE)
    spread = gates.to_numpy().std(axis=0)
    assert found.channels[0] == spread.argmax()
    for channel, row in zip(found.channels, found.images, strict=True):
        values = gates.to_numpy()[:, channel]
        order = gates["image"].to_numpy()[np.argsort(values, kind="stable")]
        assert row.tolist() == [*order[::-1][:6], *order[:6]]

    (batch,) = batches(selection, model.transform, batch_size=100, workers=0)
    place = {entry.sample.path: number for number, entry in enumerate(selection.entries)}
    rows = [place[recording.images["path"].loc[image]] for image in found.images[2]]
    direct = se_probe.gate_maps(model.network, batch.images[rows], {SITE: [int(found.channels[2])]})[SITE]
    expected = [coarse(shares.numpy()) for shares in direct.maps[:, 0]]
    np.testing.assert_allclose(found.maps[2], expected, atol=1e-4)
