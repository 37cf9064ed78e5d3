"""First-order effects of gates: closed forms, finite differences, exact replacement, and a network left as it was."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import Constant, GateRecorder, PerLabel, exact_effects, find_gates, gate_effects, intervene
from se_probe.gates.resuming import Resumable
from tests.gates import networks
from tests.gates.test_discovery import SIZE, WRITTEN, build
from tests.gates.test_intervention import ARCHITECTURES, images, living
from tests.gates.test_recorder import count_hooks

# It overwrites what its gradient needs, which torch cannot derive either.
KINDS = [row[0] for row in WRITTEN if row[0] is not networks.OverwrittenGate]
STEP = 1e-7


def larger(number):
    """Images for networks whose last feature maps are small."""
    return (
        torch.randn(number, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        + torch.arange(number)[:, None, None, None]
    )


def squares(output, _labels=None):
    """An outcome that depends on every unit, and not linearly."""
    return output.flatten(1).square().sum(1)


def by_difference(network, batch, site, gates, direction, outcome):
    """Change of the outcome along a direction of the gates, from two replacements."""
    labels = [str(row) for row in range(len(batch))]
    found = []
    for sign in (1, -1):
        with intervene(network, {site: PerLabel((gates + sign * STEP * direction).numpy(), labels)}) as intervention:
            intervention.labels = labels
            found.append(outcome(network(batch)))
    return (found[0] - found[1]) / (2 * STEP)


def assert_derivatives(network, batch, sites, outcome=squares, rtol=1e-5):
    found = gate_effects(network, batch, outcome=outcome, sites=sites)
    draw = torch.Generator().manual_seed(0)
    for site in sites:
        gates, gradients = found.gates[site.name], found.gradients[site.name]
        direction = torch.randn(gates.shape, generator=draw, dtype=gates.dtype)
        expected = by_difference(network, batch, site, gates, direction, outcome)
        along = (gradients * direction).flatten(1).sum(1)
        assert expected.abs().max() > 0, site.name
        torch.testing.assert_close(along, expected, rtol=rtol, atol=rtol * float(expected.abs().max()))


def test_with_a_linear_head_the_first_order_is_exact():
    network, batch = build(networks.Functional).double(), images(4).double()
    (site,) = find_gates(network, SIZE)
    labels = [0, 3, 3, 5]
    reference = np.linspace(0, 1, 8)
    found = gate_effects(network, batch, labels=labels, reference={site.name: reference})
    with torch.no_grad():
        features = network.conv(batch)
        gates = network.gate_block.factor(features)[:, :, 0, 0].numpy()
    means = features.numpy().mean((2, 3))  # The network's answer is the spatial mean of gate times feature map.
    expected = np.eye(8)[labels] * means * (reference - gates)
    np.testing.assert_allclose(found.effects[site.name].numpy(), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.outcome.numpy(), (means * gates)[range(4), labels], rtol=1e-12)
    picks = torch.arange(8).expand(4, 8)
    exact = exact_effects(network, batch, site, picks, torch.from_numpy(reference), labels=torch.tensor(labels))
    np.testing.assert_allclose(exact.numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_replacing_however_gates_are_written(kind):
    network = build(kind).double()
    assert_derivatives(network, images(3).double(), find_gates(network, SIZE))


def test_a_network_that_overwrites_its_values_is_refused():
    with pytest.raises(SeProbeError, match="the network overwrites values that its gradient needs"):
        gate_effects(build(networks.OverwrittenGate), images(2), outcome=squares)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_those_of_replacing_in_timm_architectures(architecture):
    network, batch = living(architecture).double(), larger(2).double()
    sites = find_gates(network, (3, 64, 64))
    assert_derivatives(network, batch, [sites[0], sites[-1]], rtol=1e-3)  # The kinks of ReLU are in reach of a step.


class TwoUses(networks.Functional):
    """One gate that multiplies two maps, and is also an output of its own."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__(channels)
        self.other = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        gate = torch.sigmoid(self.squeeze(x))[:, :, None, None]
        return x * gate + self.other(x).tanh() * gate + gate


def test_a_shared_gate_counts_at_each_product_alone():
    network, batch = build(TwoUses).double(), images(3).double()
    first, second = find_gates(network, SIZE)
    found = gate_effects(network, batch, outcome=lambda output, _: output.sum(1), reference=0.0)
    with torch.no_grad():
        x = network.conv(batch)
        maps = {first.name: x, second.name: network.gate_block.other(x).tanh()}
        gate = network.gate_block.factor(x)[:, :, 0, 0]
    for site in (first, second):
        torch.testing.assert_close(found.effects[site.name], -gate * maps[site.name].mean((2, 3)))


def test_an_earlier_gate_acts_through_later_ones_too():
    network, batch = build(networks.SharedActivation).double(), images(3).double()
    first, second = find_gates(network, SIZE)
    gradients = gate_effects(network, batch, outcome=squares).gradients
    with torch.no_grad():
        x = network.conv(batch)
        gates = [network.gate_block.first.factor(x)]
        gates.append(network.gate_block.second.factor(x * gates[0]))
    leaf = gates[0].clone().requires_grad_()
    whole = (x * leaf) * network.gate_block.second.factor(x * leaf)
    held = (x * leaf) * gates[1]
    through, direct = (torch.autograd.grad(squares(y.mean((2, 3))).sum(), leaf)[0][:, :, 0, 0] for y in (whole, held))
    torch.testing.assert_close(gradients[first.name], through)
    assert not torch.allclose(gradients[first.name], direct, rtol=1e-3)
    assert gradients.keys() == {first.name, second.name}


def test_the_gates_are_those_of_a_recorder_and_the_output_that_of_the_network():
    network, batch = build(networks.SelectiveKernelByHand), images(3)
    found = gate_effects(network, batch, labels=[0, 1, 2])
    with GateRecorder(network) as recorder, torch.no_grad():
        output = network(batch)
        assert all(torch.equal(found.gates[name], values) for name, values in recorder.gates.items())
    assert torch.equal(found.output, output)
    assert {name: values.shape for name, values in found.effects.items()} == {"SK_1_1": (3, 2, 8)}


def test_outcomes():
    network, batch = build(networks.Functional).double(), images(3).double()
    labels = torch.tensor([2, 0, 5])
    logits = gate_effects(network, batch, labels=labels).output

    def outcome(name, **more):
        return gate_effects(network, batch, outcome=name, **more).outcome

    rows = range(3)
    assert torch.equal(outcome("label", labels=labels.tolist()), logits[rows, labels])
    assert torch.equal(outcome("predicted"), logits.max(1).values)
    torch.testing.assert_close(outcome("log-probability", labels=labels), logits.log_softmax(1)[rows, labels])
    assert torch.equal(outcome((3, 1)), logits[:, 3] - logits[:, 1])
    assert torch.equal(outcome(lambda output, given: output.mean(1)), logits.mean(1))
    softmax = gate_effects(network, batch, labels=labels, outcome="log-probability").gradients["SE_1_1"]
    plain = gate_effects(network, batch, labels=labels).gradients["SE_1_1"]
    # d log p(label) / ds differs from d logit / ds by the mean over classes, whose logits are channel by channel here.
    means = network.conv(batch).mean((2, 3)).detach()
    torch.testing.assert_close(softmax, plain - logits.softmax(1) * means)


def test_references():
    network, batch = build(networks.Functional), images(4)
    labels = [1, 1, 1, 2]

    def found(reference, given=labels):
        return gate_effects(network, batch, labels=given, outcome=squares, reference=reference)

    gates = found(0.0).gates["SE_1_1"]
    assert torch.equal(found(1).reference["SE_1_1"], torch.ones(8))
    torch.testing.assert_close(found("mean").reference["SE_1_1"], (gates[:3].mean(0) + gates[3]) / 2)
    torch.testing.assert_close(found("mean", None).reference["SE_1_1"], gates.mean(0))
    given = {"SE_1_1": np.full(8, 0.25)}
    expected = found(0.0).gradients["SE_1_1"] * (0.25 - gates)
    torch.testing.assert_close(found(given).effects["SE_1_1"], expected)
    as_tensor = {"SE_1_1": torch.full((8,), 0.25, dtype=torch.bfloat16, requires_grad=True)}
    assert torch.equal(found(as_tensor).effects["SE_1_1"], found(given).effects["SE_1_1"])


@pytest.mark.parametrize("branches", [networks.Functional, networks.SelectiveKernelByHand])
def test_exact_effects_are_those_of_replacing_one_by_one(branches):
    network, batch = build(branches), images(2)
    (site,) = find_gates(network, SIZE)
    shape = (site.branches, 8) if site.branches > 1 else (8,)
    reference = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    picks = torch.tensor([[0, 5], [7, 8 * site.branches - 1]])
    found = exact_effects(
        network, batch, site, picks, reference, outcome=squares, passes=Resumable(network, [site], SIZE)
    )
    with torch.no_grad(), GateRecorder(network, [site]) as recorder:
        before = squares(network(batch))
        gates = recorder.gates[site.name].flatten(1).numpy()
    for image, row in enumerate(picks.tolist()):
        for place, unit in enumerate(row):
            changed = gates.copy()
            changed[image, unit] = reference.flatten()[unit]
            with intervene(network, {site: PerLabel(changed.reshape(-1, *shape), ["a", "b"])}) as intervention:
                intervention.labels = ["a", "b"]
                after = squares(network(batch))
            torch.testing.assert_close(found[image, place], (after - before)[image])


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_the_network_is_left_as_it_was_after_an_exception_too(mode):
    network, batch = build(networks.Functional), images(2)
    network.conv.weight.requires_grad_(False)
    network.conv.bias.grad = torch.ones(8)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def fails(output, _labels):
        raise ValueError("on purpose")

    with mode():
        enabled = torch.is_grad_enabled()
        gate_effects(network, batch, outcome=squares)
        with pytest.raises(ValueError, match="on purpose"):
            gate_effects(network, batch, outcome=fails)
        assert torch.is_grad_enabled() is enabled
    assert count_hooks(network) == 0
    assert not batch.requires_grad
    assert not network.training
    assert [p.requires_grad for p in network.parameters()] == [False, *[True] * 5]
    assert torch.equal(network.conv.bias.grad, torch.ones(8))
    assert all(p.grad is None for p in network.gate_block.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_frozen_weights_have_effects_too():
    network, batch = build(networks.Functional), images(2)
    expected = gate_effects(network, batch, outcome=squares).effects["SE_1_1"]
    network.requires_grad_(False)
    assert torch.equal(gate_effects(network, batch, outcome=squares).effects["SE_1_1"], expected)


class Unused(nn.Module):
    """A gated map that does not reach the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = networks.Functional(), networks.Functional()

    def forward(self, x):
        self.unused(x)
        return self.used(x)


def test_a_gate_that_the_answer_does_not_depend_on_has_no_effect():
    network, batch = build(Unused), images(2)
    effects = gate_effects(network, batch, outcome=squares, reference=0.0).effects
    assert sorted(bool(values.any()) for values in effects.values()) == [False, True]


class Detached(networks.Functional):
    def factor(self, x):
        return super().factor(x).detach()


class IntoView(networks.Functional):
    """Multiplies a part of a map in place."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__(channels // 2)

    def forward(self, x):
        x = F.relu(x) + 1
        part = x[:, :4]
        part.mul_(self.factor(part.clone()))
        return x


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Detached, {"outcome": squares}, r"the gate of SE_1_1 is cut off from its input \(detach or no_grad in the"),
        (IntoView, {"outcome": squares}, r"the product of SE_1_1 is written into a part of another tensor \("),
        (networks.Functional, {}, r"the outcome 'label' needs labels; pass labels=\[…\], an output unit for each"),
        (networks.Functional, {"labels": [1]}, r"1 labels were given for 2 images; expected one for each\."),
        (networks.Functional, {"labels": [1, 8]}, r"8 is not an output unit of the network; expected 0 to 7\."),
        (networks.Functional, {"outcome": (1, 9)}, r"9 is not an output unit of the network; expected 0 to 7\."),
        (networks.Functional, {"outcome": "loss"}, r"the outcome 'loss' was requested; expected one of label, pred"),
        (networks.Functional, {"outcome": lambda o, _: o}, r"the outcome is \(2, 8\); expected a number for each"),
        (networks.Functional, {"outcome": lambda o, _: o[:1, 0]}, r"the outcome has shape \(1,\); expected \(2,\)"),
        (networks.Functional, {"outcome": lambda o, _: o.detach()[:, 0]}, r"the outcome carries no gradient: the"),
        (
            networks.Functional,
            {"outcome": squares, "reference": {"SE_1_1": np.ones(3)}},
            r"SE_1_1 has gates of shape \(8,\), and a reference of shape \(3,\) was given for it",
        ),
        (networks.Functional, {"outcome": squares, "reference": {}}, r"no reference was given for SE_1_1; pass one"),
        (networks.Functional, {"outcome": squares, "reference": "class"}, r"the reference 'class' was requested"),
    ],
)
def test_refusals(kind, options, message):
    network = build(kind)
    with pytest.raises(SeProbeError, match=message):
        gate_effects(network, images(2), **options)
    assert count_hooks(network) == 0


def test_what_is_no_pass_of_the_network_as_it_is_is_refused():
    network, batch = build(networks.Functional), images(2)
    (site,) = find_gates(network, SIZE)
    message = re.escape("the gate is replaced by an intervention, which has no gradient")
    with intervene(network, {site: Constant(np.ones(8))}):
        network(batch)
        with pytest.raises(SeProbeError, match=message):
            gate_effects(network, batch, outcome=squares, sites=[site])
    with pytest.raises(SeProbeError, match="effects need a backward pass, which a GateRecorder does not make"):
        GateRecorder(network, [site], ["effect"])
    with pytest.raises(SeProbeError, match=r"the batch has dtype torch.int64, which carries no gradient"):
        gate_effects(network, batch.long(), outcome=squares, sites=[site])
