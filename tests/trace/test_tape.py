"""Operations that were kept of a pass and run again, with in-place operations and views among them."""

import pytest
import torch
from torch import nn

from se_probe.trace.operation import Operation
from se_probe.trace.tape import LastOperation, Ref, TapeMode


class InPlace(nn.Module):
    """Overwrites a part of what it computed, through a view, after another view was taken."""

    def forward(self, x):
        y = x * 2
        early = y[:, :1]
        y[:, 1:].relu_()
        return early + y.sum(1, keepdim=True)


def taped(network, batch, **kept):
    mode = TapeMode(batch, **kept)
    with torch.no_grad(), mode:
        output = network(batch)
    return mode.tape, output


def test_operations_run_again_give_what_the_pass_gave_and_have_gradients():
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    batch = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    tape, output = taped(network, batch)
    leaf = batch.clone().requires_grad_()
    known = {Ref(None): leaf}
    for step in tape.steps.values():
        known |= step.run(known)
    again = known[Ref(list(tape.steps)[-1])]
    torch.testing.assert_close(again.detach(), output, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(again.sum(), leaf)
    expected = torch.func.grad(lambda x: network(x).sum())(batch)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


def test_a_tensor_that_was_overwritten_in_part_is_not_taken_for_what_it_was():
    tape, _ = taped(InPlace(), torch.randn(2, 3))
    total = tape.steps[Operation("sum", 0)]
    (read,) = total.refs
    assert read.operation not in tape.steps
    assert tape.depends(read)
    with pytest.raises(KeyError):
        total.run({Ref(None): torch.zeros(2, 3)})


def test_a_pass_ends_after_the_last_operation():
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    mode = TapeMode(torch.randn(2, 4), last=Operation("relu", 0))
    with pytest.raises(LastOperation), torch.no_grad(), mode:
        network(torch.randn(2, 4))
    assert mode.tape.counts["addmm"] == 1


def test_what_does_not_depend_on_the_input_is_told_from_what_does():
    class Mixed(nn.Module):
        def forward(self, x):
            return x + torch.ones_like(x) * torch.arange(3.0)

    tape, _ = taped(Mixed(), torch.randn(2, 3))
    depends = {operation.name: step.data for operation, step in tape.steps.items()}
    assert depends["add"]
    assert not depends["mul"]
