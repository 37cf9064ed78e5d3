from collections.abc import Iterator

import pytest
import torch
from timm.layers import SEModule
from timm.layers.selective_kernel import SelectiveKernelAttn
from timm.layers.split_attn import SplitAttn

from se_probe.demo import DEMO_INSTANCES, DEMO_MODELS
from se_probe.demo.networks import build_network
from tools.demo.train import FIRST_TRAINING_INSTANCE, HELD_OUT, VALIDATION, TrainingPlan, train

SHORT = TrainingPlan(instances=4, epochs=1, batch_size=20)


@pytest.fixture(autouse=True)
def same_torch_settings_afterwards() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.parametrize("kind", DEMO_MODELS)
def test_retraining_reproduces_the_weights(kind: str) -> None:
    first, second = train(kind, SHORT).state_dict(), train(kind, SHORT).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_seed_matters() -> None:
    first = train("se", SHORT).state_dict()["fc.weight"]
    second = train("se", TrainingPlan(instances=4, epochs=1, batch_size=20, seed=1)).state_dict()["fc.weight"]
    assert not torch.equal(first, second)


def _excitation_kernels(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    layers = {}
    for path, module in network.named_modules():
        if isinstance(module, SEModule | SplitAttn):
            layers[path] = (module.fc1, module.fc2)
        elif isinstance(module, SelectiveKernelAttn):
            layers[path] = (module.fc_reduce, module.fc_select)
    return {f"{path}.{k}": layer.weight for path, pair in layers.items() for k, layer in enumerate(pair)}


@pytest.mark.parametrize("kind", DEMO_MODELS)
def test_weight_decay_spares_what_feeds_a_gate(kind: str) -> None:
    crushing = TrainingPlan(instances=4, epochs=2, batch_size=10, learning_rate=1e-6, weight_decay=3e5)
    torch.manual_seed(crushing.seed)
    before, after = build_network(kind), train(kind, crushing)
    kernels = _excitation_kernels(after)
    assert len(kernels) == 18
    for name, kernel in _excitation_kernels(before).items():
        assert torch.allclose(kernels[name], kernel, atol=1e-3), name
    other = "layer1.0.conv1.weight" if kind != "sk" else "layer1.0.conv1.conv.weight"
    assert after.state_dict()[other].norm() < 0.5 * before.state_dict()[other].norm()


def test_runs_never_see_a_training_or_validation_drawing() -> None:
    assert range(DEMO_INSTANCES) == HELD_OUT
    assert HELD_OUT.stop <= VALIDATION.start < VALIDATION.stop <= FIRST_TRAINING_INSTANCE


@pytest.mark.parametrize("kind", DEMO_MODELS)
def test_gate_gain_widens_the_layers_that_give_the_gate_logits(kind: str) -> None:
    still = TrainingPlan(instances=2, epochs=1, batch_size=20, learning_rate=1e-9, gate_gain=3.0)
    torch.manual_seed(still.seed)
    before, after = _excitation_kernels(build_network(kind)), _excitation_kernels(train(kind, still))
    for name, kernel in before.items():
        gain = 3.0 if name.endswith(".1") else 1.0
        assert torch.allclose(after[name], gain * kernel, atol=1e-6), name
