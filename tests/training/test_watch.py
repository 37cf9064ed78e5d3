"""Gates read during training: what is read, that nothing else changes, and a collapse caught while it happens."""

import logging
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from se_probe.demo import demo_network
from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from se_probe.images import batches, demo_images, select
from se_probe.models import load_model
from se_probe.training import watch
from tests.recording.small import SmallNetwork

SIZE = (3, 16, 16)


class Normed(nn.Module):
    """The small network with batch norm and dropout, which draws random numbers in training."""

    def __init__(self):
        super().__init__()
        self.inner = SmallNetwork()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.2)

    def forward(self, images):
        return self.inner(self.drop(self.norm(images)))


def network(kind=Normed):
    torch.manual_seed(0)
    made = kind().train()
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.Linear):
                module.weight *= 20  # gates that move
    return made


def trained(made, steps=7, watched=None, images=8):
    """A few steps on noise; returns losses."""
    torch.manual_seed(1)
    optimizer, losses = torch.optim.SGD(made.parameters(), 0.05, momentum=0.9), []

    def run():
        for _ in range(steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(made(torch.randn(images, *SIZE)), torch.randint(0, 3, (images,)))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    if watched is None:
        run()
    else:
        with watched:
            run()
    return losses, torch.rand(1)


def test_training_is_the_same_bit_for_bit():
    plain, seen = network(), network()
    watched = watch(seen, every=2, input_size=SIZE)
    assert trained(plain) == trained(seen, watched=watched)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, seen.state_dict()[name]), name
    for one, other in zip(plain.parameters(), seen.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    assert watched.table["step"].unique().tolist() == [0, 2, 4, 6]
    assert seen.training
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in seen.modules())


def test_rows_are_those_of_the_factor_in_training_mode():
    """Independent: hooks on the modules that make the gates, in float64 numpy, pooled within batches."""
    made, caught = network(), {}
    sites = find_gates(made, SIZE)
    hooks = [
        made.get_submodule(site.module).fc.register_forward_hook(
            lambda _m, _a, out, name=site.name: caught.setdefault(name, []).append(out.detach().clone())
        )
        for site in sites
    ]
    watched = watch(made, every=3, sites=sites, images=30)
    trained(made, steps=10, watched=watched, images=15)
    for hook in hooks:
        hook.remove()
    assert watched.table["images"].tolist() == [15] * 2 + [30] * 6
    for row in watched.rows:
        steps = [step for step in (row["step"] - 3, row["step"]) if step >= 0]
        parts = [1 / (1 + np.exp(-caught[row["site"]][step].double().numpy())) for step in steps]
        assert row["mean_gate"] == pytest.approx(np.concatenate(parts).mean(), rel=1e-6)
        if len(parts) == 1:  # 14 degrees of freedom are too few for a state
            assert row["verdict"] == "unknown"
            assert np.isnan(row["sd"])
            continue
        m2 = sum(((part - part.mean(axis=0)) ** 2).sum(axis=0) for part in parts)
        sd = np.sqrt(m2 / 28)
        assert row["sd"] == pytest.approx(np.sqrt(np.mean(sd**2)), rel=1e-5)
        assert row["dynamic"] == pytest.approx(np.mean(sd >= 0.02))


def test_validation_in_between_is_neither_counted_nor_read():
    made = network()
    with watch(made, every=2, input_size=SIZE) as watched:
        for _ in range(4):
            made.eval()
            with torch.no_grad():
                made(torch.randn(5, *SIZE))
            made.train()
            made(torch.randn(24, *SIZE)).sum().backward()
    assert watched.table["step"].unique().tolist() == [0, 2]
    assert watched.table["images"].unique().tolist() == [24, 48]


def test_logs_are_functions_and_writers_of_tensorboard():
    class Writer:
        def __init__(self):
            self.scalars = []

        def add_scalar(self, tag, value, step):
            self.scalars.append((tag, value, step))

    rows, writer = [], Writer()
    made = network()
    watched = watch(made, every=1, input_size=SIZE, log=[rows.append, writer], start=100)
    trained(made, steps=3, watched=watched, images=24)
    assert rows == watched.rows
    assert [row["step"] for row in rows] == [100, 100, 101, 101, 102, 102]
    assert ("gates/SE_2_1/mean_gate", rows[0]["mean_gate"], 100) in writer.scalars
    assert len(writer.scalars) == 6 * len(rows)


def test_a_network_that_is_not_trained_is_told(caplog):
    with caplog.at_level(logging.WARNING, "se_probe"), watch(network(), input_size=SIZE):
        pass
    assert "no training step was seen" in caplog.text


def test_hooks_come_off_after_an_error():
    made = network()
    with pytest.raises(RuntimeError), watch(made, input_size=SIZE):
        made(torch.randn(4, 9, 16, 16))
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in made.modules())


def test_checkpointed_activations_are_computed_again_without_being_read():
    made = network(SmallNetwork)
    plain_forward = made.first.forward
    made.first.forward = lambda value: checkpoint(plain_forward, value, use_reentrant=False)
    with watch(made, every=1, input_size=SIZE) as watched:
        for _ in range(2):
            made(torch.randn(24, *SIZE)).sum().backward()
    assert watched.table["images"].tolist() == [24, 24, 48, 48]


def test_compiled_networks_are_refused():
    made = network(SmallNetwork)
    with pytest.raises(SeProbeError, match=re.escape("is compiled by torch.compile")):
        watch(torch.compile(made), input_size=SIZE).__enter__()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every=0, images=256, start=0 was given; expected whole numbers from 1, 1 and 0."),
        ({"log": 7}, "log=7 was given; expected a function of a row, a SummaryWriter, or a list of them."),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        watch(network(), input_size=SIZE, **options)


@pytest.fixture(scope="module")
def drawings():
    images = demo_images()
    chosen = [images.labels.resolve(name).image_class for name in ("goldfish", "pug")]
    selection = select(images, chosen, per_class=12, reference_per_class=0)
    (batch,) = batches(selection, load_model("demo:se").transform, batch_size=24, workers=0)
    units = [selection.entries[place].sample.image_class.index for place in batch.indices]
    return batch.images, torch.tensor(units)


def demo_training(drawings, decay, steps=12):
    """Train the demo network on with a weight decay of the excitation, which collapsed a real network."""
    torch.set_num_threads(1)
    made, said = demo_network("se").train(), []
    excitation = {
        id(parameter) for site in find_gates(made) for parameter in made.get_submodule(site.module).parameters()
    }
    groups = [[p for p in made.parameters() if (id(p) in excitation) == inside] for inside in (True, False)]
    optimizer = torch.optim.SGD(
        [{"params": groups[0], "weight_decay": decay}, {"params": groups[1], "weight_decay": 0.0}], lr=0.01
    )
    images, units = drawings
    with watch(made, every=2, images=24, say=said.append) as watched:
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(made(images), units).backward()
            optimizer.step()
    return watched, said


def test_weight_decay_on_the_excitation_is_caught_while_it_happens(drawings):
    watched, said = demo_training(drawings, decay=40.0)
    found = [re.match(r"step (\d+): the gates of (\S+) are (collapsed|constant|saturated): ", line) for line in said]
    first = {match[2]: int(match[1]) for match in found if match}
    live = {row["site"] for row in watched.rows if row["step"] == 0 and row["verdict"] == "live"}
    assert set(first) == live
    assert max(first.values()) < 12
    last = watched.table.groupby("site").last()
    assert (last["mean_gate"] - 0.5).abs().max() < 0.05


def test_the_healthy_network_is_not_accused(drawings):
    watched, said = demo_training(drawings, decay=0.0)
    assert len(watched.rows) == 6 * len(watched.sites)
    assert not [line for line in said if " are " in line]
