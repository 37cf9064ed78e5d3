"""Gates of few bits and of tiles, against closed forms in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import GateRecorder, Identity, Quantize, QuantizeLogits, Tile, find_gates, intervene

SIZE = (3, 11, 9)


class Excitation(nn.Module):
    def __init__(self, channels, act):
        super().__init__()
        self.down, self.up, self.act = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1), act

    def forward(self, x):
        return x * self.act(self.up(self.down(x.mean((2, 3), keepdim=True)).relu()))


class Spread(Excitation):
    """Computes its gate from the largest value of each channel as well."""

    def forward(self, x):
        seen = x.mean((2, 3), keepdim=True) + x.amax((2, 3), keepdim=True)
        return x * self.act(self.up(self.down(seen).relu()))


class Functional(Excitation):
    def forward(self, x):
        return x * torch.sigmoid(self.up(self.down(x.mean((2, 3), keepdim=True)).relu()))


class Unbounded(Excitation):
    def __init__(self, channels, act):
        super().__init__(channels, nn.Identity())


def network(kind=Excitation, act=None):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), kind(5, act or nn.Sigmoid()))
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=1.0)
    return layers.eval()


def batch():
    return torch.randn(4, *SIZE, generator=torch.Generator().manual_seed(1))


def run(model, replacement):
    (site,) = find_gates(model, input_size=SIZE)
    with GateRecorder(model, [site]) as recorder, torch.no_grad():
        model(batch())
        gates = recorder.gates[site.name].double().numpy()
    features = model[0](batch()).detach().double().numpy()
    with intervene(model, {site: replacement}):
        changed = model(batch()).double().numpy()
    return gates, features, changed


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_gates_of_few_bits_are_the_nearest_of_equal_steps(bits):
    gates, features, changed = run(network(), Quantize(bits))
    levels = np.linspace(0, 1, 2**bits)
    nearest = levels[np.abs(gates[..., None] - levels).argmin(-1)]
    np.testing.assert_allclose(changed, features * nearest[:, :, None, None], atol=1e-5)
    assert len(np.unique(nearest)) <= 2**bits


@pytest.mark.parametrize(("act", "reach"), [(nn.Sigmoid(), 8.0), (nn.Hardsigmoid(), 3.0)])
def test_logits_of_few_bits_are_the_nearest_of_equal_steps(act, reach):
    gates, features, changed = run(network(act=act), QuantizeLogits(4))
    with np.errstate(divide="ignore"):
        logits = np.log(gates / (1 - gates)) if reach == 8 else 6 * gates - 3
    levels = np.linspace(-reach, reach, 16)
    nearest = levels[np.abs(logits.clip(-reach, reach)[..., None] - levels).argmin(-1)]
    expected = 1 / (1 + np.exp(-nearest)) if reach == 8 else nearest / 6 + 0.5
    np.testing.assert_allclose(changed, features * expected[:, :, None, None], atol=1e-5)


def excite(model, means):
    """The excitation by hand, `(…, channel)` in float64."""
    se = model[1]
    (w1, b1), (w2, b2) = (
        (layer.weight.detach().double().numpy()[:, :, 0, 0], layer.bias.detach().double().numpy())
        for layer in (se.down, se.up)
    )
    return 1 / (1 + np.exp(-(np.maximum(means @ w1.T + b1, 0) @ w2.T + b2)))


@pytest.mark.parametrize("side", [1, 2, 4, 9, 50])
def test_every_tile_has_the_gate_of_its_own_squeeze(side):
    model = network()
    _, features, changed = run(model, Tile(model, side))
    expected = np.empty_like(features)
    for top in range(0, SIZE[1], side):
        for left in range(0, SIZE[2], side):
            tile = features[:, :, top : top + side, left : left + side]
            expected[:, :, top : top + side, left : left + side] = (
                tile * excite(model, tile.mean((2, 3)))[:, :, None, None]
            )
    np.testing.assert_allclose(changed, expected, atol=1e-5)


def test_one_tile_is_the_network_itself():
    model = network()
    gates, features, changed = run(model, Tile(model, 11))
    np.testing.assert_allclose(changed, features * gates[:, :, None, None], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Spread, "its gates depend on more than the channel means of the map|was not found"),
        (Functional, "its gate is not the output of a module inside the one that multiplies"),
    ],
)
def test_what_is_no_function_of_channel_means_is_not_tiled(kind, reason):
    model = network(kind)
    (site,) = find_gates(model, input_size=SIZE)
    with pytest.raises(SeProbeError, match=rf"^the squeeze of {site.name} cannot be tiled: .*({reason}).*; choose oth"):
        intervene(model, {site: Tile(model, 2)})


def test_bits_need_bounds():
    model = network(Unbounded)
    (site,) = find_gates(model, input_size=SIZE)
    with pytest.raises(SeProbeError, match=rf"^the gates of {site.name} are unbounded, so 8 bits have no range to"):
        intervene(model, {site: Quantize(8)})
    with pytest.raises(SeProbeError, match="which does not determine the logit; expected one of sigmoid, hard-sigmoid"):
        intervene(model, {site: QuantizeLogits(8)})
    with pytest.raises(SeProbeError, match=r"^17 bits were requested; expected 1 to 16\.$"):
        Quantize(17)


def test_the_network_is_left_as_it_was_and_tiles_are_not_recorded():
    model = network()
    (site,) = find_gates(model, input_size=SIZE)
    before = model(batch())
    with intervene(model, {site: Tile(model, 2)}):
        model(batch())
    assert torch.equal(model(batch()), before)
    message = rf"^the intervention makes the gates of {site.name} vary over the map"
    tiled, recorder = intervene(model, {site: Tile(model, 2)}), GateRecorder(model, [site])
    with pytest.raises(SeProbeError, match=message), tiled, recorder:
        model(batch())


def test_an_intervention_before_it_acts_on_the_tiled_squeeze():
    """Tiles are of the features that the changed network has."""
    torch.manual_seed(2)
    model = nn.Sequential(network(), nn.Conv2d(5, 5, 1), network()[1]).eval()
    first, second = find_gates(model, input_size=SIZE)
    with torch.no_grad():
        features = model[1](model[0][0](batch())).double().numpy()
    with intervene(model, {first: Identity(), second: Tile(model, 20)}):
        changed = model(batch()).double().numpy()
    expected = features * excite([None, model[2]], features.mean((2, 3)))[:, :, None, None]
    np.testing.assert_allclose(changed, expected, atol=1e-5)
