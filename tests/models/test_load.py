"""What holds for a network from any source."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from se_probe.errors import SeProbeError
from se_probe.models import availability, load_architecture, load_model

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
    assert str(caught.value) == "random weights were asked for, but a checkpoint was given; choose one of the two"


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


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("spec", ["test_efficientnet", "hf-hub:a/b"])
def test_a_silent_hub_is_waited_for_once_and_briefly(silent: str, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    set_endpoint(monkeypatch, silent)
    monkeypatch.setattr(availability, "_PROBE_SECONDS", 0.3)
    start = time.monotonic()
    with pytest.raises(SeProbeError, match=r"^the weights of [^\n]+ could not be read \(ReadTimeout: [^\n]+$"):
        load_model(spec)
    assert time.monotonic() - start < 5
