"""Masking by maps, on a network in which it is known which pixels a gate sees."""

import numpy as np
import pytest
import torch
from torch import nn

import se_probe
from se_probe.ablation.masking import AREA, blur, logits_masked, top_area
from se_probe.analysis.map_faithfulness import Masked, map_faithfulness


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
