"""A dry pass shows a network the same noise every time, and leaves the network and the caller's random state alone."""

import warnings

import pytest
import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.trace.dry_pass import dry_pass, left_alone, noise_for, unwrap


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
    with pytest.raises(KeyError), left_alone(network):
        raise KeyError
    assert network.training


def test_a_pass_that_fails():
    with pytest.raises(SeProbeError, match=r"Linear with input \(2, 3\) failed.*\(2x3 and 4x2\).*pass the input_size"):
        dry_pass(nn.Linear(4, 2), (3,), lambda network, batch: network(batch))


class Two(nn.Module):
    def forward(self, x, y):
        return x * y


class Broken(nn.Module):
    def forward(self, x):
        raise KeyError("nothing here")


class Hungry(nn.Module):
    def forward(self, x):
        return x.sum() * torch.empty(10**15)


class Part(nn.Module):
    """A network with a given part."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        return self.part(x)


def compiled_in_place():
    network = nn.Linear(4, 2)
    network.compile()
    return network


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated in newer versions of torch
        return torch.jit.trace(nn.Linear(4, 2), torch.ones(1, 4))


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that quantised tensors will go
        return nn.Sequential(torch.ao.nn.quantized.Linear(4, 2))


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (Two, r"more than one input.*pass inputs= with all of them"),
        (lambda: nn.Embedding(5, 2), r"whole numbers.*pass inputs= with an example"),
        (lambda: Part(scripted()), r"the part 'part' is a scripted Linear.*pass the Python network"),
        (quantised, r"statically quantised.*before it was quantised"),
        (lambda: torch.export.export(nn.Linear(4, 2), (torch.ones(2, 4),)), r"torch\.export program.*exported from"),
        (lambda: torch.export.export(nn.Linear(4, 2), (torch.ones(2, 4),)).module(), r"torch\.export program"),
        (compiled_in_place, r"compiled in place by \.compile\(\).*before it is compiled"),
        (lambda: Part(compiled_in_place()), r"the part 'part' was compiled in place"),
        (Hungry, r"ran out of memory.*smaller input_size"),
        (Broken, r"fails by itself \('nothing here'\).*evaluation mode"),
        (lambda: nn.Linear(3, 2), r"does not take this size.*pass the input_size"),
        (lambda: nn.LazyLinear(3), r"lazy modules.*run it once"),
    ],
)
def test_each_failure_has_a_sentence_of_its_own(build, said):
    with pytest.raises(SeProbeError, match=said):
        dry_pass(unwrap(build()), (4,), lambda network, batch: network(batch))
