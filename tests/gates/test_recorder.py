import re

import pytest
import timm
import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.folding import fold_gates
from se_probe.gates import GateRecorder, find_gates
from se_probe.gates.discovery import choose_sites
from tests.gates import networks
from tests.gates.test_discovery import SIZE, WRITTEN, build


def count_hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def record(network, sites, batch):
    with torch.no_grad(), GateRecorder(network, sites) as recorder:
        network(batch)
    return recorder.gates


@pytest.mark.parametrize(("architecture", "gate"), [("seresnet50", "gate"), ("legacy_seresnet50", "sigmoid")])
def test_equals_a_ten_line_hook(architecture, gate):
    torch.manual_seed(0)
    network = timm.create_model(architecture).eval()
    batch = torch.randn(3, 3, 64, 64)
    expected = []
    handles = [
        module.register_forward_hook(lambda _m, _i, output: expected.append(output.clone()))
        for path, module in network.named_modules()
        if path.split(".")[-2:] in (["se", gate], ["se_module", gate])
    ]
    with torch.no_grad():
        network(batch)
    for handle in handles:
        handle.remove()
    gates = record(network, find_gates(network), batch)
    assert len(gates) == len(expected) == 16
    for value, output in zip(gates.values(), expected, strict=True):
        assert torch.equal(value, output[:, :, 0, 0])


@pytest.mark.parametrize("kind", [row[0] for row in WRITTEN])
def test_gate_times_feature_map_is_the_product(kind):
    """The block's output is feature map times gate, summed over branches; compute it from the recorded gate."""
    network = build(kind)
    sites = find_gates(network, SIZE)
    batch = torch.randn(3, *SIZE)
    (gates,) = record(network, sites, batch).values()
    with torch.no_grad():
        feature_map = network.conv(batch)
        output = network.gate_block(feature_map.clone())
        if sites[0].family == "SK":
            branches = [network.gate_block.small(feature_map), network.gate_block.large(feature_map)]
        elif sites[0].family == "split attention":
            branches = network.gate_block.conv(feature_map).split(8, dim=1)
        else:
            branches, gates = [feature_map], gates[:, None]
    product = sum(branch * gates[:, i, :, None, None] for i, branch in enumerate(branches))
    assert torch.equal(product, output)


def test_selective_kernel_gates_of_timm():
    network = timm.create_model("skresnet18").eval()
    sites = find_gates(network)
    seen = {}
    module = network.layer1[0].conv1.attn
    with module.register_forward_hook(lambda _m, _i, output: seen.update(gate=output.clone())):
        gates = record(network, sites, torch.randn(2, 3, 64, 64))
    assert gates["SK_2_1"].shape == (2, 2, 64)
    assert torch.equal(gates["SK_2_1"], seen["gate"][..., 0, 0])


def test_split_attention_is_read_radix_major():
    network = timm.create_model("resnest14d").eval()
    module = network.layer2[0].conv2
    flat = {}
    with module.rsoftmax.register_forward_hook(lambda _m, _i, output: flat.update(gate=output.clone())):
        gates = record(network, find_gates(network), torch.randn(2, 3, 64, 64))["SA_3_1"]
    channels = gates.shape[-1]
    assert torch.equal(gates[:, 0], flat["gate"][:, :channels])
    assert torch.equal(gates[:, 1], flat["gate"][:, channels:])
    torch.testing.assert_close(gates.sum(1), torch.ones(2, channels))


def test_later_in_place_operations_do_not_reach_the_gates():
    network = build(networks.OverwrittenGate)
    gates = record(network, find_gates(network, SIZE), torch.randn(2, *SIZE))["SE_1_1"]
    assert bool((gates > 0).all())


def test_shared_modules_are_told_apart():
    for kind in (networks.SharedActivation, networks.CalledTwice):
        network = build(kind)
        gates = record(network, find_gates(network, SIZE), torch.randn(2, *SIZE))
        assert list(gates) == ["SE_1_1", "SE_1_2"]
        assert not torch.equal(gates["SE_1_1"], gates["SE_1_2"])


@pytest.mark.parametrize("kind", [networks.Functional, networks.OverwrittenGate])
def test_hooks_are_gone_on_exit_and_after_an_exception(kind):
    network = build(kind)
    sites = find_gates(network, SIZE)
    with GateRecorder(network, sites):
        assert count_hooks(network) > 0
    assert count_hooks(network) == 0
    with pytest.raises(RuntimeError), GateRecorder(network, sites):
        network(torch.randn(2, 4, 32, 32))
    assert count_hooks(network) == 0


def test_an_interrupt_inside_a_watched_module_leaves_nothing_behind(monkeypatch):
    network = build(networks.Functional)
    sites = find_gates(network, SIZE)

    def interrupt(_x):
        raise KeyboardInterrupt

    monkeypatch.setattr(network.gate_block.fc1, "forward", interrupt)
    with pytest.raises(KeyboardInterrupt), GateRecorder(network, sites):
        network(torch.randn(2, *SIZE))
    assert count_hooks(network) == 0
    assert torch._C._len_torch_dispatch_stack() == 0


def test_a_failed_or_missing_pass_gives_no_gates():
    message = (
        "the recorder holds no gates: no forward pass of the network has completed since it was entered, or "
        "the last one failed; run network(batch) inside the with block."
    )
    network = build(networks.Functional)
    with GateRecorder(network, find_gates(network, SIZE)) as recorder:
        with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
            recorder.gates  # noqa: B018
        network(torch.randn(2, *SIZE))
        with pytest.raises(RuntimeError):
            network(torch.randn(2, 4, 32, 32))
        with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
            recorder.gates  # noqa: B018


def test_another_way_through_the_network_is_refused():
    network = build(networks.Undecided)
    sites = find_gates(network, SIZE)
    network.gate_block.skip = True
    message = r"another path than the dry pass .*: the module of SE_1_1 made 0 products, not 1; .* Find the sites with"
    with GateRecorder(network, sites), pytest.raises(SeProbeError, match=message):
        network(torch.randn(2, *SIZE))


def test_training_mode_is_refused_before_and_during():
    network = build(networks.Functional)
    sites = find_gates(network, SIZE)
    message = (
        "the network is in training mode, in which batch statistics and dropout change its gates; call "
        "network.eval() first."
    )
    with GateRecorder(network, sites):
        network.train()
        with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
            network(torch.randn(2, *SIZE))
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"), GateRecorder(network, sites):
        pass
    assert count_hooks(network) == 0


def test_wrappers_are_refused_with_a_reason():
    network = build(networks.Functional)
    sites = find_gates(network, SIZE)
    parallel = (
        "the network is wrapped in DataParallel, whose replicas run without the recorder; pass network.module and "
        "run that."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(parallel)}$"), GateRecorder(nn.DataParallel(network), sites):
        pass
    compiled = (
        "the network is compiled by torch.compile, which may skip hooks that are registered later; pass the "
        "original network (compiled._orig_mod) and run that."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(compiled)}$"), GateRecorder(torch.compile(network), sites):
        pass


def test_sites_of_another_network_are_refused():
    sites = find_gates(timm.create_model("legacy_seresnet18"), (3, 64, 64))
    network = build(networks.Functional)
    message = r"^the network has no module 'layer1\.0\.se_module', .* pass the sites that find_gates returned for this"
    with pytest.raises(SeProbeError, match=message), GateRecorder(network, sites):
        pass
    assert count_hooks(network) == 0


def test_some_sites_batches_of_one_and_dtypes():
    network = timm.create_model("legacy_seresnet18").eval()
    sites = find_gates(network, (3, 64, 64))
    batch = torch.randn(4, 3, 64, 64)
    whole = record(network, sites, batch)
    some = record(network, sites[2:4], batch[:1])
    assert list(some) == [site.name for site in sites[2:4]]
    torch.testing.assert_close(some["SE_3_1"], whole["SE_3_1"][:1])
    double = record(network.double(), sites, batch.double())
    assert double["SE_2_1"].dtype == torch.float64


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("kind", [networks.Functional, networks.Einsum])
def test_gates_are_the_same_in_any_gradient_mode(kind, context):
    network = build(kind)
    sites = find_gates(network, SIZE)
    batch = torch.randn(2, *SIZE)
    expected = record(network, sites, batch)["SE_1_1"]
    with context(), GateRecorder(network, sites) as recorder:
        assert find_gates(network, SIZE) == sites
        network(batch)
        assert not recorder.gates["SE_1_1"].requires_grad
        assert torch.equal(recorder.gates["SE_1_1"], expected)


def signals(network, sites, batch, capture):
    with torch.no_grad(), GateRecorder(network, sites, capture) as recorder:
        network(batch)
    return recorder.signals


def test_signals_of_an_se_network_equal_raw_hooks():
    """SENet: z is the mean over space, s = sigmoid(logit), and the feature map is s * u."""
    network = timm.create_model("seresnet50").eval()
    sites = find_gates(network, (3, 64, 64))
    module, seen = network.layer2[0].se, {}
    with (
        module.register_forward_hook(
            lambda _m, args, output: seen.update(before=args[0].clone(), after=output.clone())
        ),
        module.gate.register_forward_hook(lambda _m, args, _o: seen.update(logit=args[0].clone())),
    ):
        found = signals(network, sites, torch.randn(2, 3, 64, 64), ["logit", "squeeze", "feature"])
    assert len(found) == 16 * 5
    torch.testing.assert_close(found["logit", "SE_3_1"], seen["logit"][:, :, 0, 0], rtol=0, atol=0)
    torch.testing.assert_close(found["squeeze", "SE_3_1"], seen["before"].mean((2, 3)), rtol=0, atol=0)
    torch.testing.assert_close(found["feature_before", "SE_3_1"], seen["before"].mean((2, 3)), rtol=0, atol=0)
    torch.testing.assert_close(found["feature_after", "SE_3_1"], seen["after"].mean((2, 3)), rtol=0, atol=0)
    assert torch.equal(found["logit", "SE_3_1"].sigmoid(), found["gate", "SE_3_1"])


@pytest.mark.parametrize("kind", [row[0] for row in WRITTEN])
def test_signals_however_gates_are_written(kind):
    network = build(kind)
    (site,) = find_gates(network, SIZE)
    found = signals(network, [site], torch.randn(3, *SIZE), ["logit", "squeeze", "feature"])
    gate = found["gate", site.name]
    torch.testing.assert_close(found["feature_after", site.name], found["feature_before", site.name] * gate)
    if site.activation == "sigmoid":
        assert torch.equal(found["logit", site.name].sigmoid(), gate)
    elif site.activation == "softmax over branches":
        assert torch.equal(found["logit", site.name].softmax(1), gate)
    else:
        assert ("logit", site.name) not in found
    assert found["squeeze", site.name].shape == (3, 8)


def test_signals_of_branches_in_timm():
    for architecture in ("skresnet18", "resnest14d"):
        network = timm.create_model(architecture).eval()
        sites = find_gates(network, (3, 64, 64))
        found = signals(network, sites, torch.randn(2, 3, 64, 64), ["logit", "squeeze", "feature"])
        for site in sites:
            assert torch.equal(found["logit", site.name].softmax(1), found["gate", site.name])
            assert found["squeeze", site.name].shape == (2, site.channels)
            before, after = found["feature_before", site.name], found["feature_after", site.name]
            torch.testing.assert_close(after, before * found["gate", site.name])


def test_an_unknown_capture():
    network = build(networks.Functional)
    message = "'logits' cannot be captured; expected some of gate, original, logit, squeeze, feature, effect."
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        GateRecorder(network, find_gates(network, SIZE), ["logits"])


@pytest.mark.parametrize("kind", [networks.Functional, networks.OverwrittenGate, networks.CalledTwice])
def test_a_run_ends_after_the_last_site(kind):
    network = build(kind)
    sites = find_gates(network, SIZE)
    batch = torch.randn(2, *SIZE)
    expected = record(network, sites, batch)
    reached = []
    network.register_forward_hook(lambda _m, _i, _o: reached.append("the end"))
    with torch.no_grad(), GateRecorder(network, sites) as recorder:
        signals = recorder.run(batch)
        assert reached == []
        network(batch)
        assert reached == ["the end"]
    assert all(torch.equal(signals["gate", name], values) for name, values in expected.items())
    assert count_hooks(network) == 1
    assert torch._C._len_torch_dispatch_stack() == 0


def test_a_run_that_fails_raises_what_the_network_raised():
    network = build(networks.Functional)
    with GateRecorder(network, find_gates(network, SIZE)) as recorder, pytest.raises(RuntimeError):
        recorder.run(torch.randn(2, 4, 32, 32))
    assert count_hooks(network) == 0
    assert torch._C._len_torch_dispatch_stack() == 0


def test_upsampling_is_the_same_operation_in_inference_mode():
    """Its composite has a Python version of other operations, products among them."""

    class Upsampled(nn.Module):
        def __init__(self):
            super().__init__()
            self.excite = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1), nn.Sigmoid())

        def forward(self, x):
            gate = nn.functional.interpolate(self.excite(x), scale_factor=1.0, mode="bilinear", align_corners=False)
            return nn.functional.interpolate(x * gate, scale_factor=2.0, mode="bilinear", align_corners=False)

    torch.manual_seed(0)
    network, batch = Upsampled().eval(), torch.randn(2, 3, 8, 8)
    sites = find_gates(network, input_size=(3, 8, 8))
    with torch.inference_mode(), GateRecorder(network, sites) as recorder:
        watched = network(batch)
        gates = recorder.gates[sites[0].name]
    with torch.inference_mode():
        assert torch.equal(network(batch), watched)
        assert torch.equal(gates, network.excite(batch)[:, :, 0, 0])


@pytest.fixture
def network():
    network = build(networks.CalledTwice)
    network.pretrained_cfg = {"input_size": SIZE}
    return network


def test_all_sites_are_found_where_none_are_given(network):
    batch = torch.randn(2, *SIZE)
    with torch.no_grad(), GateRecorder(network) as recorder:
        network(batch)
    expected = record(network, find_gates(network, SIZE), batch)
    assert list(recorder.gates) == list(expected) == ["SE_1_1", "SE_1_2"]
    assert all(torch.equal(recorder.gates[name], values) for name, values in expected.items())


def test_names_and_sites_may_be_mixed(network):
    first, second = find_gates(network, SIZE)
    assert choose_sites(network, ["SE_1_2", first]) == [second, first]
    assert choose_sites(network, [second]) == [second]
    with torch.no_grad(), GateRecorder(network, ["SE_1_2"]) as recorder:
        network(torch.randn(2, *SIZE))
    assert list(recorder.gates) == ["SE_1_2"]


def test_the_example_input_is_that_of_the_dry_pass(network):
    del network.pretrained_cfg
    assert choose_sites(network, ["SE_1_1"], input_size=SIZE) == find_gates(network, SIZE)[:1]


def test_an_unknown_name_is_refused_with_near_names(network):
    with pytest.raises(SeProbeError, match=r"no site 'SE_1_3'; did you mean SE_1_\d or SE_1_\d\?"):
        GateRecorder(network, ["SE_1_3"])
    with pytest.raises(SeProbeError, match=r"no site 'layer4'; expected some of SE_1_1, SE_1_2"):
        choose_sites(network, ["layer4"])


def test_folding_takes_names(network):
    network = build(networks.Functional)
    network.pretrained_cfg = {"input_size": SIZE}
    folded = fold_gates(network, {"SE_1_1": torch.full((8,), 0.5)}, torch.randn(3, *SIZE))
    assert folded.fixed == ["SE_1_1"]
