"""Maps of chosen gates in chosen images, and masking by maps on a network of which it is known what a gate sees."""

import numpy as np
import pytest
import torch
from torch import nn

import se_probe
from se_probe.ablation.maps import AREA, blur, logits_masked, map_images, top_area
from se_probe.analysis.map_faithfulness import Masked, map_faithfulness
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


class Bright(nn.Module):
    """Channel 0 opens with red, channel 1 with green; every cell of the map is one patch of 4×4 pixels."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 4, stride=4, bias=False)
        self.excite = nn.Linear(4, 4)
        with torch.no_grad():
            self.patches.weight.zero_()
            self.patches.weight[0, 0] = self.patches.weight[1, 1] = 1 / 16
            self.excite.weight.copy_(torch.eye(4))
            self.excite.bias.zero_()

    def forward(self, x):
        u = self.patches(x)
        return u * torch.sigmoid(self.excite(u.mean((2, 3))))[:, :, None, None]


@pytest.fixture
def images():
    """A red spot in one corner, a green one in the other, black elsewhere."""
    pictures = torch.zeros(6, 3, 32, 32)
    pictures[:, 0, :8, :8] = 10
    pictures[:, 1, -8:, -8:] = 10
    return pictures


def masked(images, flip=False):
    network = Bright().eval()
    mapper = se_probe.GateMapper(network, input_size=(3, 32, 32))
    (site,) = mapper.sites
    item = mapper(images, {site.name: [0, 1]})[site.name]
    maps = item.maps.flip(1) if flip else item.maps
    draws = [np.random.default_rng(place) for place in range(len(images))]
    changed = logits_masked(mapper, images, torch.zeros_like(images), site.name, item.channels, maps, draws)
    return Masked((changed - item.logit).numpy(), item.logit.numpy())


def test_masking_what_a_gate_sees_takes_its_whole_logit(images):
    found = masked(images)
    highest, lowest, random = found.changes
    np.testing.assert_allclose(highest, -found.logits, rtol=1e-5)
    np.testing.assert_allclose(lowest, 0, atol=1e-6)
    assert (random.mean(1) > highest.mean(1)).all()
    table = map_faithfulness({"SE_1_1": found})
    assert table["better_than_random"].tolist() == [True]


def test_the_map_of_another_channel_is_no_better_than_random(images):
    table = map_faithfulness({"SE_1_1": masked(images, flip=True)})
    assert table["better_than_random"].tolist() == [False]
    assert table["highest_minus_random"].item() > 0


def test_a_mask_has_exactly_its_area_and_is_highest_where_the_map_is():
    values = torch.arange(16.0).reshape(1, 4, 4)
    mask = top_area(values, torch.zeros(1, 3, 30, 30))
    assert int(mask.sum()) == round(AREA * 900)
    assert mask[0, -1, 10:].all()
    assert not mask[0, :20].any()


def test_a_blur_keeps_the_mean_and_takes_detail_away():
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    blurred = blur(noise)
    assert blurred.shape == noise.shape
    assert float(blurred.mean()) == pytest.approx(float(noise.mean()), abs=0.01)
    assert float(blurred.std()) < 0.1 * float(noise.std())
