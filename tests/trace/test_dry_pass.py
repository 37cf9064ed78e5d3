"""A dry pass shows a network the same noise every time, and leaves the network and the caller's random state alone."""

import pytest
import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.trace.dry_pass import dry_pass, evaluation_mode
from se_probe.trace.example import noise_for


def test_noise_is_always_the_same_and_fits_the_network():
    network = nn.Linear(4, 2).to(torch.bfloat16)
    one, other = noise_for(network, (3, 4), 2), noise_for(network, (3, 4), 2)
    assert one.shape == (2, 3, 4)
    assert one.dtype == torch.bfloat16
    assert torch.equal(one, other)
    assert not torch.equal(one, noise_for(network, (3, 4), 2, seed=1))


def test_a_pass_is_in_evaluation_mode_and_draws_no_random_numbers_of_the_caller():
    network = nn.Sequential(nn.Linear(4, 2), nn.Dropout())
    network[1].eval()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    seen = dry_pass(network, (4,), lambda item, batch: (item.training, len(batch), torch.rand(1)), images=5)
    assert seen[:2] == (False, 5)
    assert torch.rand(1) == expected
    assert [module.training for module in network.modules()] == [True, True, False]


def test_modes_come_back_after_an_error():
    network = nn.Linear(4, 2)
    with pytest.raises(KeyError), evaluation_mode(network):
        raise KeyError
    assert network.training


def test_a_pass_that_fails():
    with pytest.raises(SeProbeError, match=r"Linear with input \(2, 3\) failed.*\(2x3 and 4x2\).*pass the input_size"):
        dry_pass(nn.Linear(4, 2), (3,), lambda network, batch: network(batch))
