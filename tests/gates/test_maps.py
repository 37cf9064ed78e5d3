"""Gate maps against closed forms, raw hooks, and what deleting a part of the feature map does."""

import math
import re

import numpy as np
import pytest
import timm
import torch
from torch import nn

import se_probe
from se_probe.demo import demo_network, photo_network
from se_probe.errors import SeProbeError
from tests.gates.kinds import KINDS, Net
from tests.gates.networks import (
    ChannelsLast,
    FlatRadix,
    Functional,
    GroupedGate,
    HardSigmoidByHand,
    InPlaceProduct,
    OnePlusTanh,
    OverwrittenGate,
    RadixSplitByHand,
    SelectiveKernelByHand,
    Stem,
    Undecided,
)

# One of each way in which published networks compute gates; sizes are the smallest that they take.
ARCHITECTURES = {
    "seresnet18": "SE",
    "legacy_seresnet18": "SE",
    "seresnext26d_32x4d": "SE",
    "regnety_002": "SE",
    "mobilenetv3_small_050": "SE",
    "rexnet_100": "SE",
    "hardcorenas_a": "SE",
    "ghostnet_050": "SE",
    "ese_vovnet19b_dw": "SE",
    "ecaresnet26t": "ECA",
    "eca_nfnet_l0": "ECA",
    "skresnet18": "SK",
    "resnest14d": "split attention",
}


class Pooled(Functional):
    """A gate computed from a squeeze of one's own."""

    def __init__(self, squeeze):
        super().__init__()
        self.pool = squeeze

    def factor(self, x):
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(self.pool(x)))))[:, :, None, None]


class BatchNormed(Functional):
    """A batch norm between squeeze and layers."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def factor(self, x):
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(self.norm(x.mean((2, 3)))))))[:, :, None, None]


class Smooth(Functional):
    def factor(self, x):
        return torch.sigmoid(self.fc2(nn.functional.silu(self.fc1(x.mean((2, 3))))))[:, :, None, None]


def noise(images=3, side=32, seed=0):
    return torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps_of(network, batch, channels=(0, 3)):
    (site,) = se_probe.find_gates(network, tuple(batch.shape[1:]))
    return se_probe.gate_maps(network, batch, {site: channels})[site.name]


def closed_form(gate, feature, channel):
    """Map and bias of a gate of two layers with a ReLU between them, `(image, height, width)` and `(image,)`."""
    first, second = gate.fc1, gate.fc2
    w1, b1 = first.weight.detach().numpy(), first.bias.detach().numpy()
    w2, b2 = second.weight.detach().numpy(), second.bias.detach().numpy()
    u = feature.detach().numpy()
    hidden = u.mean((2, 3)) @ w1.T + b1
    on = (hidden > 0) * w2[channel]
    maps = np.einsum("nc,nchw->nhw", on @ w1, u) / np.prod(u.shape[2:])
    return maps, on @ b1 + b2[channel]


@pytest.mark.parametrize(
    "kind", [Functional, InPlaceProduct, OverwrittenGate, ChannelsLast, HardSigmoidByHand, OnePlusTanh]
)
def test_maps_are_gradient_times_map_and_complete_however_the_gate_is_written(kind):
    torch.manual_seed(1)
    network, batch = Stem(kind()).double().eval(), noise()
    found = maps_of(network, batch)
    feature = network.conv(batch)
    logits = network.gate_block.squeeze(feature).detach()
    for place, channel in enumerate((0, 3)):
        maps, bias = closed_form(network.gate_block, feature, channel)
        np.testing.assert_allclose(found.maps[:, place], maps, atol=1e-12)
        np.testing.assert_allclose(found.bias[:, place], bias, atol=1e-12)
    torch.testing.assert_close(found.logit, logits[:, [0, 3]], rtol=0, atol=1e-12)
    torch.testing.assert_close(found.maps.sum((-2, -1)) + found.bias, found.logit, rtol=0, atol=1e-12)
    assert found.residual.abs().max() < 1e-12


def test_the_map_of_another_channel_fails():
    torch.manual_seed(1)
    network, batch = Stem(Functional()).double().eval(), noise()
    found = maps_of(network, batch)
    swapped = found.maps.flip(1).sum((-2, -1)) + found.bias.flip(1)
    assert (swapped - found.logit).abs().min() > 1e-3


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_maps_of_published_architectures_are_complete(name):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=2).double().eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.bias.data.normal_(0, 0.1)
    batch = noise(2, 32)
    mapper = se_probe.GateMapper(network, input_size=(3, 32, 32))
    assert not mapper.refused
    assert {site.family for site in mapper.sites} == {ARCHITECTURES[name]}
    found = mapper(batch, {site.name: [0, site.channels - 1] for site in mapper.sites})
    with se_probe.GateRecorder(network, mapper.sites) as recorder, torch.no_grad():
        network(batch)
    for site in mapper.sites:
        item, gates = found[site.name], recorder.gates[site.name][..., [0, site.channels - 1]]
        torch.testing.assert_close(item.maps.sum((-2, -1)) + item.bias, item.logit, rtol=0, atol=1e-12)
        expected = (gates[:, -1] / gates[:, 0]).log() if site.branches > 1 else item.logit
        torch.testing.assert_close(item.logit, expected, rtol=0, atol=1e-9)
        if site.activation == "sigmoid":
            torch.testing.assert_close(item.logit.sigmoid(), gates, rtol=0, atol=1e-12)
        if site.activation == "hard-sigmoid":
            torch.testing.assert_close(nn.functional.hardsigmoid(item.logit), gates, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [SelectiveKernelByHand, RadixSplitByHand, FlatRadix])
def test_competing_branches_are_split_as_the_difference_of_their_logits(kind):
    torch.manual_seed(2)
    network, batch = Stem(kind()).double().eval(), noise()
    found = maps_of(network, batch)
    with se_probe.GateRecorder(network, input_size=(3, 32, 32)) as recorder, torch.no_grad():
        network(batch)
    (gates,) = recorder.gates.values()
    torch.testing.assert_close(found.logit, (gates[:, 1] / gates[:, 0]).log()[:, [0, 3]], rtol=0, atol=1e-9)
    assert found.residual.abs().max() < 1e-12


@pytest.mark.parametrize("name", ["branches first", "branches last", "images second", "repeated", "interpolated"])
def test_odd_layouts_are_complete(name):
    torch.manual_seed(3)
    network = Net(KINDS[name][0]).double().eval()
    found = maps_of(network, noise())
    assert found.residual.abs().max() < 1e-12
    assert found.maps.shape == (3, 2, 16, 16)


def test_groups_of_channels_and_a_batch_norm_are_complete():
    torch.manual_seed(3)
    for gate in (GroupedGate(), BatchNormed()):
        assert maps_of(Stem(gate).double().eval(), noise()).residual.abs().max() < 1e-12


def test_a_maximum_squeeze_looks_at_the_maxima_alone():
    torch.manual_seed(4)
    network, batch = Stem(Pooled(lambda x: x.amax((2, 3)))).double().eval(), noise()
    found = maps_of(network, batch)
    feature = network.conv(batch)
    at_maximum = (feature == feature.amax((2, 3), keepdim=True)).any(1)
    assert found.residual.abs().max() < 1e-12
    assert not found.maps[~at_maximum[:, None].expand_as(found.maps)].any()
    assert found.maps[at_maximum[:, None].expand_as(found.maps)].any()


def test_a_mixed_squeeze_is_the_sum_of_its_parts():
    torch.manual_seed(4)
    network, batch = Stem(Pooled(lambda x: x.mean((2, 3)) + x.amax((2, 3)))).double().eval(), noise()
    assert maps_of(network, batch).residual.abs().max() < 1e-12


def test_a_smooth_excitation_leaves_what_its_curvature_keeps():
    torch.manual_seed(5)
    network, batch = Stem(Smooth()).double().eval(), noise()
    found = maps_of(network, batch, [2])
    gate = network.gate_block
    x = gate.fc1(network.conv(batch).mean((2, 3))).detach()
    slope = x.sigmoid() * (1 + x * (1 - x.sigmoid()))
    curvature = (nn.functional.silu(x) - slope * x) @ gate.fc2.weight.detach()[2]
    torch.testing.assert_close(found.residual[:, 0], curvature, rtol=0, atol=1e-12)
    assert found.residual.abs().max() > 1e-4


def test_deleting_a_quadrant_changes_the_logit_as_the_map_says():
    network = photo_network("se")
    batch = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    batch = nn.functional.avg_pool2d(batch, 5, 1, 2) * 8 - 4
    sites = se_probe.find_gates(network)[::5]
    channels = [0, 5, 9, 13]
    found = se_probe.gate_maps(network, batch, {site.name: channels for site in sites})
    for site in sites:
        maps = found[site.name].maps
        side = math.ceil(maps.shape[-1] / 2)
        said, measured = [], []
        for rows, columns in ((slice(0, side), slice(0, side)), (slice(side, None), slice(0, side))):
            said.append(-maps[:, :, rows, columns].sum((-2, -1)))
            measured.append(
                logits_without(network, site.module, batch, rows, columns)[:, channels] - found[site.name].logit
            )
        said, measured = (torch.cat(item).flatten() for item in (said, measured))
        assert torch.corrcoef(torch.stack([said, measured]))[0, 1] > 0.98
        other = torch.cat([said[1:], said[:1]])
        assert torch.corrcoef(torch.stack([other, measured]))[0, 1] < 0.9


def logits_without(network, path, batch, rows, columns):
    """Gate logits of an SE module, by hooks, where a part of its feature map is set to zero."""
    module, caught = network.get_submodule(path), []

    def delete(_module, args):
        changed = args[0].clone()
        changed[..., rows, columns] = 0
        return (changed,)

    handles = [
        module.register_forward_pre_hook(delete),
        module.fc2.register_forward_hook(lambda _m, _a, output: caught.append(output.flatten(1))),
    ]
    try:
        with torch.no_grad():
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
    return caught[0]


def test_every_image_has_channels_of_its_own():
    torch.manual_seed(1)
    network, batch = Stem(Functional()).double().eval(), noise()
    every = maps_of(network, batch, range(8))
    own = maps_of(network, batch, [[1, 2], [7, 0], [3, 3]])
    for image, row in enumerate([[1, 2], [7, 0], [3, 3]]):
        torch.testing.assert_close(own.maps[image], every.maps[image, row], rtol=0, atol=0)
        torch.testing.assert_close(own.logit[image], every.logit[image, row], rtol=0, atol=0)
    assert own.channels.tolist() == [[1, 2], [7, 0], [3, 3]]


def test_a_mapper_gives_the_logits_alone_and_images_do_not_depend_on_the_batch():
    network = demo_network("sk")
    batch = noise(2, 64).float()
    mapper = se_probe.GateMapper(network)
    wanted = {mapper.sites[-1].name: [0, 1]}
    (whole,), (logits,) = mapper(batch, wanted).values(), mapper.logits(batch, wanted).values()
    (alone,) = mapper(batch[1:], wanted).values()
    torch.testing.assert_close(logits, whole.logit, rtol=0, atol=1e-6)
    torch.testing.assert_close(alone.maps[0], whole.maps[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: Net(KINDS["global response norm"][0]), "a normalisation or a squeeze other than"),
        (
            lambda: Net(KINDS["one gate for three maps"][0]),
            "its logit also depends on other tensors than the map that it multiplies",
        ),
        (lambda: Net(KINDS["einsum, branches first"][0]), "the multiplication is a matrix product"),
        (lambda: Net(KINDS["repeated over tokens"][0]), "two were expected: height and width"),
        (lambda: Stem(Pooled(lambda x: (x * x.mean(1, keepdim=True).sigmoid()).mean((2, 3)))), "weighs positions"),
        (lambda: Stem(Pooled(lambda x: x.std((2, 3)))), "a normalisation or a squeeze other than"),
    ],
)
def test_a_gate_without_a_split_is_refused_with_the_reason(build, why):
    torch.manual_seed(0)
    network = build().eval()
    site = se_probe.find_gates(network, (3, 32, 32))[0]
    with pytest.raises(
        SeProbeError, match=rf"^{site.name} has no gate map, because .*{re.escape(why)}.*; leave it out\.$"
    ):
        se_probe.gate_maps(network, noise().float(), {site: [0]})


def test_a_channel_that_is_not_there_is_refused():
    network = Stem(Functional()).double().eval()
    with pytest.raises(SeProbeError, match=r"^channels 0 to 8 of SE_1_1 were requested; it has 0 to 7\.$"):
        maps_of(network, noise(), [0, 8])


@pytest.mark.parametrize("channels", [[[0], [1, 2], [3]], ["first"], [[0], [1]]])
def test_channels_that_fit_no_batch_are_refused(channels):
    network = Stem(Functional()).double().eval()
    with pytest.raises(SeProbeError, match=r"^the channels of SE_1_1 .*; expected a row of channels, or one"):
        maps_of(network, noise(), channels)


def test_a_network_in_training_mode_is_refused_and_left_in_it():
    network = Stem(Functional()).double().train()
    sites = se_probe.find_gates(network, (3, 32, 32))
    with pytest.raises(SeProbeError, match="training mode"):
        se_probe.gate_maps(network, noise(), {sites[0]: [0]})
    assert all(module.training for module in network.modules())


def test_a_pass_that_takes_another_way_is_refused_and_everything_is_left_as_it_was():
    network = Stem(Undecided()).double().eval()
    mapper = se_probe.GateMapper(network, input_size=(3, 32, 32))
    network.gate_block.skip = True
    with pytest.raises(SeProbeError, match="another path"):
        mapper(noise(), {"SE_1_1": [0]})
    network.gate_block.skip = False

    def fail(*_hook):
        raise KeyError("a hook of one's own")

    handle = network.gate_block.fc1.register_forward_hook(fail)
    with pytest.raises(KeyError):
        mapper(noise(), {"SE_1_1": [0]})
    handle.remove()
    assert torch.is_grad_enabled()
    assert not any(
        module.training or module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert mapper(noise(), {"SE_1_1": [0]})["SE_1_1"].residual.abs().max() < 1e-12


def test_maps_are_the_same_inside_of_inference_mode():
    torch.manual_seed(1)
    network, batch = Stem(Functional()).double().eval(), noise()
    expected = maps_of(network, batch)
    with torch.inference_mode():
        found = maps_of(network, batch.clone())
    torch.testing.assert_close(found.maps, expected.maps, rtol=0, atol=0)
