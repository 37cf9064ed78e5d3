"""What holds for a network from any source."""

from __future__ import annotations

import dataclasses
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from se_probe.errors import SeProbeError
from se_probe.models import availability, load_architecture, load_model, model_of

from .conftest import set_endpoint


def test_random_weights_are_drawn_from_the_seed_alone() -> None:
    digests = []
    for seed, disturbance in ((0, 1), (0, 2), (1, 2)):
        torch.manual_seed(disturbance)
        before = torch.get_rng_state()
        model = load_model("test_efficientnet", random_weights=True, seed=seed)
        assert model.weights == f"random (seed {seed})"
        assert torch.equal(torch.get_rng_state(), before)
        digests.append(model.weights_sha256)
    assert digests[0] == digests[1] != digests[2]


def test_random_weights_and_a_checkpoint_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(SeProbeError) as caught:
        load_model("test_efficientnet", checkpoint=tmp_path / "a.pth", random_weights=True)
    assert str(caught.value) == "random weights were requested, but a checkpoint was given; choose one of the two"


def test_a_loaded_model_is_frozen() -> None:
    model = load_model("test_efficientnet", random_weights=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.name = "other"  # type: ignore[misc]


def test_a_checkpoint_makes_do_without_the_pretrained_weights(tmp_path: Path) -> None:
    # No hub answers in these tests, so loading would fail if it asked for one.
    state = load_model("test_efficientnet", random_weights=True, seed=4).network.state_dict()
    torch.save(state, tmp_path / "own.pth")
    model = load_model("test_efficientnet", checkpoint=tmp_path / "own.pth")
    assert model.weights == "checkpoint own.pth"
    assert all(torch.equal(model.network.state_dict()[key], value) for key, value in state.items())


def test_an_architecture_needs_no_pretrained_weights() -> None:
    # No hub answers in these tests, so loading would fail if it asked for one.
    model = load_architecture("test_efficientnet", model_args={"num_classes": 3})
    assert model.weights == "random (seed 0)"
    assert model.network.get_classifier().out_features == 3
    assert load_architecture("demo:se").weights == load_model("demo:se").weights


@pytest.mark.parametrize("spec", ["test_efficientnet", "hf-hub:a/b"])
def test_a_silent_hub_is_asked_twice_at_the_most(monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        set_endpoint(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(availability, "_PROBE_SECONDS", 0.3)
        with pytest.raises(SeProbeError, match=r"^the weights of [^\n]+ could not be read \(ReadTimeout: [^\n]+$"):
            load_model(spec)
        assert _waiting(silent) <= 2


def _waiting(server: socket.socket) -> int:
    """Return how many connections a server was asked for."""
    server.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def test_a_network_in_training_mode_is_refused() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    with pytest.raises(SeProbeError, match=r"^mine is in training mode.*call network\.eval\(\) first$"):
        model_of(network, "mine")
    network.eval()[1].train()
    with pytest.raises(SeProbeError, match="training mode"):
        model_of(network, "mine")


def test_a_network_whose_parameters_have_no_values_is_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        network = torch.nn.Conv2d(3, 4, 1).eval()
    with pytest.raises(
        SeProbeError, match=r"^2 tensors of mine are on the meta device.*\(weight is the first\); build"
    ):
        model_of(network, "mine")
    (tmp_path / "net.py").write_text("import torch\ndef build(): return torch.nn.Conv2d(3, 4, 1, device='meta')\n")
    with pytest.raises(SeProbeError, match=r"^2 tensors of net.py:build are on the meta device"):
        load_model(f"{tmp_path / 'net.py'}:build")
