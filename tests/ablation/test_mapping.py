"""Maps of chosen gates in chosen images against those of `gate_maps`, image by image."""

import numpy as np
import pytest
import torch

import se_probe
from se_probe.ablation.mapping import map_images
from se_probe.images import batches, demo_images, select
from se_probe.models import load_model


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return load_model("demo:se")


@pytest.fixture(scope="module")
def selection():
    images = demo_images()
    return select(images, images.classes[:2], per_class=2, reference_per_class=0)


def test_every_triple_has_the_map_that_gate_maps_gives(model, selection):
    mapper = se_probe.GateMapper(model.network, ["SE_2_1", "SE_5_3"], input_size=model.input_size)
    wanted = [("SE_5_3", 7, 3), ("SE_5_3", 0, 1), ("SE_2_1", 5, 3), ("SE_5_3", 7, 3), ("SE_5_3", 2, 3)]
    found = list(map_images(model, selection, wanted, mapper=mapper, batch_size=3))
    assert {(item.site, item.channel, item.place) for item in found} == set(wanted)
    assert len(found) == 4
    images = torch.cat([batch.images for batch in batches(selection, model.transform, batch_size=4, workers=0)])
    for item in found:
        whole = mapper(images, {item.site: [item.channel]})[item.site]
        np.testing.assert_allclose(item.shares, whole.maps[item.place, 0], rtol=1e-3, atol=1e-6)
        assert item.logit == pytest.approx(float(whole.logit[item.place, 0]), abs=1e-5)
        assert item.shares.sum() + item.bias + item.residual == pytest.approx(item.logit, abs=1e-5)
