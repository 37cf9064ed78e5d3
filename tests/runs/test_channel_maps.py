"""Maps for the report are those of the network's gates, in the images that open and close each channel most."""

import numpy as np
import pytest
import torch

import se_probe
from se_probe.images import batches, demo_images, select
from se_probe.models import load_model
from se_probe.report.channel_maps import coarse
from se_probe.runs.channel_maps import channel_maps

SITE = "SE_4_2"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("channel_maps") / "run"
    chosen = {"per_class": 8, "reference_per_class": 0, "workers": 0, "report": False, "progress": False}
    return se_probe.excite("goldfish,pug", demo=True, out=out, **chosen)


def test_maps_are_those_of_the_images_at_both_ends(recording):
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
