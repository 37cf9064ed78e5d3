"""Fresh weights: the same architecture, every parameter drawn anew, from a seed; the given network is not changed."""

import pytest
import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.models import load_model, model_of
from se_probe.models.fresh import fresh_weights


def test_every_weight_is_drawn_anew_and_the_network_stays_as_it_is():
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


def test_the_global_generator_is_left_alone():
    state = torch.random.get_rng_state()
    fresh_weights(load_model("demo:sk"), 3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_parameters_that_would_stay_trained_are_refused():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(3))
            self.pretrained_cfg = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3}

        def forward(self, x):
            return x * self.gamma[:, None, None]

    with pytest.raises(SeProbeError, match=r"Scaled '' of Scaled has parameters and no reset_parameters.*--null"):
        fresh_weights(model_of(Scaled().eval()), 0)
