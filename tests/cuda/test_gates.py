"""Gates of networks on a CUDA device: found, read and replaced there as on the CPU."""

from copy import deepcopy

import pytest
import torch

import se_probe
from se_probe.demo import DEMO_MODELS, demo_network
from se_probe.gates import Identity, Scale

pytestmark = pytest.mark.cuda


def images(count=6):
    return torch.rand(count, 3, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=DEMO_MODELS)
def networks(request, device):
    """A demo network on the CPU and the same on the device."""
    network = demo_network(request.param)
    return network, deepcopy(network).to(device)


def read(network, batch, capture=()):
    sites = se_probe.find_gates(network)
    with torch.inference_mode(), se_probe.GateRecorder(network, sites, capture) as recorder:
        output = network(batch)
    return output, recorder.signals


def test_the_same_sites_are_found_there(networks):
    here, there = (se_probe.find_gates(network) for network in networks)
    assert [(site.name, site.hook_point) for site in here] == [(site.name, site.hook_point) for site in there]


def test_signals_stay_on_the_device_and_equal_those_of_the_cpu(networks, device):
    network, copy = networks
    capture = ("logit", "squeeze", "feature")
    _, here = read(network, images(), capture)
    _, there = read(copy, images().to(device), capture)
    assert list(here) == list(there)
    for key, values in there.items():
        assert values.device.type == device
        scale = max(1.0, float(here[key].abs().max()))
        assert float((values.cpu() - here[key]).abs().max()) <= 1e-5 * scale, key


def test_a_gate_is_the_output_of_its_module_bit_for_bit(networks, device):
    _, network = networks
    seen = {}
    for site in se_probe.find_gates(network):
        if site.hook_point.module != site.module:
            module = network.get_submodule(site.hook_point.module)
            module.register_forward_hook(lambda _m, _a, output, name=site.name: seen.__setitem__(name, output.clone()))
    _, signals = read(network, images().to(device))
    assert seen
    for name, output in seen.items():
        assert torch.equal(signals["gate", name].flatten(), output.flatten())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_without_loss(networks, device, dtype):
    network = networks[1].to(dtype)
    _, signals = read(network, images().to(device, dtype))
    assert all(values.dtype == dtype and values.isfinite().all() for values in signals.values())


@pytest.mark.parametrize("replacement", [Identity(), Scale(0.5)])
def test_interventions_do_there_what_they_do_on_the_cpu(networks, device, replacement):
    network, copy = networks
    last = se_probe.find_gates(network)[-1].name
    with torch.inference_mode():
        with se_probe.intervene(network, {last: replacement}):
            here = network(images())
        with se_probe.intervene(copy, {last: replacement}):
            there = copy(images().to(device))
        plain = network(images())
    torch.testing.assert_close(there.cpu(), here, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(here, plain, atol=1e-3)
