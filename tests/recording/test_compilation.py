"""Compiled networks against plain eager hooks; compiling takes long, so that the networks are small."""

import pytest
import torch
from torch import nn

from se_probe.gates import find_gates
from se_probe.recording.compilation import compiled
from se_probe.recording.forward import HookedNetwork
from tests.gates import networks
from tests.gates.test_discovery import SIZE
from tests.recording.test_engine import count_hooks, images, run


class TwoGates(nn.Module):
    """One gate that is a module's output and one that is a functional sigmoid, with batch norms between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.first, self.second = networks.OverwrittenGate(), networks.Functional()
        self.norm.running_mean.normal_(0, 0.1)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        return self.second(self.first(self.norm(self.conv(x)))).mean((2, 3))


def by_hand(network, batch):
    with torch.no_grad():
        feature_map = network.norm(network.conv(batch))
        first = network.first.factor(feature_map)
        return first[:, :, 0, 0], network.second.factor(feature_map * first)[:, :, 0, 0]


def two_gates():
    torch.manual_seed(0)
    return TwoGates().eval().requires_grad_(False)


def test_compiled_gates_and_predictions_of_batches_of_any_size():
    network = two_gates()
    batch = images(3, SIZE)
    output, signals, lines, prepared = run(network, batch, size=SIZE, batch_size=4, total=10, compile=True)
    assert prepared.facts["compilation"]["largest_difference"] <= 1e-5
    assert prepared.facts["batch_norms_folded"] == 1
    for values, expected in zip(signals.values(), by_hand(network, batch), strict=True):
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(output, network(batch), rtol=1e-4, atol=1e-5)
    assert lines[0] == "note      without compilation the run takes about 0 s: compiling will not pay"
    assert lines[1].startswith("compile   ")
    assert lines[1].endswith("this run has 10")


def test_a_compiled_network_that_is_slower_is_given_up(monkeypatch):
    times = iter([1.0, 1.5, 1.4])
    monkeypatch.setattr("se_probe.recording.compilation.seconds", lambda *_args, **_options: next(times))
    _, _, lines, prepared = run(two_gates(), images(3, SIZE), size=SIZE, batch_size=4, total=100, compile=True)
    assert "350.0 ms" in lines[-1]
    assert "250.0 ms without" in lines[-1]
    assert prepared.facts["compilation"].keys() == {"given_up"}


def test_weights_are_frozen_into_the_compiled_network():
    network, batch = two_gates(), images(4, SIZE)
    expected = by_hand(network, batch)
    hooked = HookedNetwork(network, find_gates(network, SIZE))
    with hooked.hooks():
        frozen = compiled(hooked, tuple(batch.shape))
    with torch.no_grad():
        network.conv.weight.zero_()
    for values, gates in zip(frozen(batch)[1].values(), expected, strict=True):
        torch.testing.assert_close(values, gates, rtol=0, atol=1e-5)


class Worldly(networks.Functional):
    """Leaves the graph: NumPy takes part in the gate."""

    def squeeze(self, x):
        return super().squeeze(x) + torch.from_numpy(x.mean((2, 3)).numpy())


@pytest.mark.parametrize("predictions", [True, False])
def test_where_a_graph_is_wrong_the_run_goes_on_without(predictions):
    torch.manual_seed(0)
    network = networks.Stem(Worldly()).eval().requires_grad_(False)
    batch = images(3, SIZE)
    with torch.no_grad():
        expected = network.gate_block.factor(network.conv(batch))[:, :, 0, 0]
    _, signals, lines, prepared = run(network, batch, size=SIZE, compile=True, predictions=predictions)
    assert lines[-1].startswith("note      the network is not compiled (")
    assert "not compiled" in lines[-1]
    assert prepared.facts["compilation"].keys() == {"given_up"}
    torch.testing.assert_close(signals["gate", "SE_1_1"], expected, rtol=0, atol=1e-5)
    assert count_hooks(network) == 0
