"""The digest of weights, and fresh weights: every parameter drawn anew from a seed; the given network stays."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.models import load_model, model_of
from se_probe.models.network import fresh_weights, state_digest


def test_it_is_the_sha256_of_names_dtypes_shapes_and_bytes() -> None:
    state = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor(3), "extra": {"not": "a tensor"}}
    written = b"a\0torch.int64\0()\0" + np.int64(3).tobytes()
    written += b"b\0torch.float32\0(1, 2)\0" + np.array([1, 2], np.float32).tobytes()
    assert state_digest(state) == hashlib.sha256(written).hexdigest()


def test_it_does_not_depend_on_memory_layout() -> None:
    plain = torch.arange(6.0).reshape(2, 3)
    assert state_digest({"w": plain.t().contiguous().t()}) == state_digest({"w": plain})


@pytest.mark.parametrize(
    "other",
    [
        {"w": torch.tensor([1.0, 2.5])},
        {"v": torch.tensor([1.0, 2.0])},
        {"w": torch.tensor([[1.0, 2.0]])},
        {"w": torch.tensor([1.0, 2.0]).view(torch.int32)},
        {"w": torch.tensor([1.0, 2.0]), "v": torch.zeros(0)},
    ],
)
def test_it_changes_with_one_weight_name_shape_or_dtype(other: dict[str, torch.Tensor]) -> None:
    assert state_digest(other) != state_digest({"w": torch.tensor([1.0, 2.0])})


def test_the_numbers_of_bfloat16_count() -> None:
    low, high = (state_digest({"w": torch.tensor([x], dtype=torch.bfloat16)}) for x in (1.0, 2.0))
    assert low != high


def test_a_loaded_model_has_the_same_digest_from_either_file_format(tmp_path: Path) -> None:
    state = load_model("test_efficientnet", random_weights=True).network.state_dict()
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": state}, tmp_path / "b.pth")
    state["classifier.bias"][7] += 1
    torch.save(state, tmp_path / "c.pth")
    digests = [
        load_model("test_efficientnet", checkpoint=tmp_path / name).weights_sha256
        for name in ("a.safetensors", "b.pth", "c.pth")
    ]
    assert digests[0] == digests[1] != digests[2]
    assert digests[0] == load_model("test_efficientnet", random_weights=True).weights_sha256


def test_every_weight_is_drawn_anew_and_the_network_stays_as_it_is() -> None:
    model = load_model("demo:se")
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    fresh = fresh_weights(model, 0)
    assert all(torch.equal(model.network.state_dict()[name], value) for name, value in before.items())
    weights = {name: value for name, value in fresh.network.named_parameters() if value.dim() > 1}
    assert weights
    assert not any(torch.equal(value, before[name]) for name, value in weights.items())
    assert not fresh.network.training
    assert fresh.weights == "fresh (seed 0)"
    assert fresh.weights_sha256 == fresh_weights(model, 0).weights_sha256 != fresh_weights(model, 1).weights_sha256


def test_the_global_generator_is_left_alone() -> None:
    state = torch.random.get_rng_state()
    fresh_weights(load_model("demo:sk"), 3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_parameters_that_would_stay_trained_are_refused() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(3))
            self.pretrained_cfg = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3}

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.gamma[:, None, None]

    with pytest.raises(SeProbeError, match=r"Scaled '' of Scaled has parameters and no reset_parameters.*--null"):
        fresh_weights(model_of(Scaled().eval()), 0)
