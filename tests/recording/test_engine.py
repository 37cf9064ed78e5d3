"""Ways of running a network against plain eager hooks, and the precision of float32 that PyTorch was set to."""

import math
import re
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from se_probe.recording.engine import (
    BUDGET,
    Execution,
    TrialImages,
    class_mean_deviation,
    engine,
    fastest_batch_size,
    float32_precision,
    ieee_float32,
)
from se_probe.recording.fast_copy import fast_copy
from se_probe.recording.forward import HookedNetwork, signals_for
from tests.gates import networks
from tests.gates.test_discovery import SIZE, WRITTEN, build
from tests.recording.living import by_plain_hooks, living
from tests.recording.small import draw_images
from tests.recording.small import run as record

IMAGE = (3, 64, 64)


def images(count, size=IMAGE, seed=1):
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(seed))


def count_hooks(network):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def run(network, batch, *, size=IMAGE, batch_size=4, capture=(), total=100, **choices):
    """Signals of a batch by an engine that was prepared on other images, what it said, and its facts."""
    lines = []
    sites = find_gates(network, size)
    probe = TrialImages(images(4, size, seed=2), ["a", "a", "b", "b"])
    options = {"execution": Execution(**choices), "batch_size": batch_size, "images": total, "say": lines.append}
    with engine(network, sites, capture, probe, **options) as prepared, torch.inference_mode():
        output, signals = prepared.run(batch)
    assert count_hooks(network) == 0
    return output, signals, lines, prepared


@pytest.mark.parametrize(
    ("architecture", "ending"),
    [
        ("legacy_seresnet18", "se_module.sigmoid"),
        ("mobilenetv3_small_050", "se.gate"),
        ("regnety_002", "se.gate"),
        ("skresnet18", "conv1.attn"),
        ("resnest14d", "rsoftmax"),
    ],
)
def test_default_gates_are_within_the_tolerance_of_plain_hooks(architecture, ending):
    network, batch = living(architecture), images(3)
    expected = by_plain_hooks(network, ending, batch)
    with torch.no_grad():
        logits = network(batch)
    output, signals, lines, prepared = run(network, batch)
    assert prepared.facts["batch_norms_folded"] > 10
    assert prepared.facts["largest_difference"] <= 5e-6
    assert lines == []
    for values, raw in zip(signals.values(), expected, strict=True):
        torch.testing.assert_close(values.flatten(), raw.flatten(), rtol=0, atol=1e-5)
    torch.testing.assert_close(output, logits, rtol=1e-4, atol=1e-4)


def test_exact_gates_are_those_of_plain_hooks_bit_for_bit():
    network, batch = living("legacy_seresnet18"), images(3)
    expected = by_plain_hooks(network, "se_module.sigmoid", batch)
    _, signals, _, prepared = run(network, batch, exact=True)
    assert prepared.facts["batch_norms_folded"] == 0
    for values, raw in zip(signals.values(), expected, strict=True):
        assert torch.equal(values, raw[:, :, 0, 0])


def test_the_network_itself_is_left_as_it_was():
    network = living("legacy_seresnet18")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run(network, images(2), dtype="bfloat16")
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(value.is_contiguous() for value in after.values())


def test_copies_are_timed_on_the_batch_that_is_given():
    network, seen = living("legacy_seresnet18"), []
    network.register_forward_pre_hook(lambda _module, args: seen.append(len(args[0])))
    sites, checked = find_gates(network, IMAGE), images(2)
    plain = HookedNetwork(network, sites)
    copy = fast_copy(plain, checked, signals_for(plain, checked), timed=images(5))
    assert copy.deviation <= 5e-6
    assert seen.count(5) >= 4  # two copies, two turns


class PrefersLayouts(nn.Module):
    """Slow with channels first in float32, and with channels last in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate_block = nn.Conv2d(3, 8, 3, stride=2, padding=1), networks.Functional()

    def forward(self, x):
        if (x.dtype == torch.bfloat16) == x.is_contiguous(memory_format=torch.channels_last):
            time.sleep(0.05)
        return self.gate_block(self.conv(x)).mean((2, 3))


@pytest.mark.parametrize(("dtype", "channels_last"), [(None, True), ("bfloat16", False)])
def test_the_layout_is_chosen_in_the_dtype_of_the_run(dtype, channels_last):
    prepared = run(PrefersLayouts().eval(), images(3, SIZE), size=SIZE, dtype=dtype)[-1]
    assert prepared.facts["channels_last"] == channels_last


class ReadTwice(nn.Module):
    """A convolution whose output is normalised, and read past the batch norm too: folding is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.gate_block = networks.Functional()
        nn.init.constant_(self.norm.weight, 3.0)

    def forward(self, x):
        y = self.conv(x)
        return self.gate_block(self.norm(y) + y).mean((2, 3))


def test_folding_that_moves_gates_is_given_up_with_a_reason():
    torch.manual_seed(0)
    network, batch = ReadTwice().eval(), images(3, SIZE)
    with torch.no_grad():
        feature_map = network.norm(network.conv(batch)) + network.conv(batch)
        expected = network.gate_block.factor(feature_map)[:, :, 0, 0]
    _, signals, lines, prepared = run(network, batch, size=SIZE)
    moved = r"folded batch norms: gates move by \d\.\de-0\d, more than 5e-06"
    (line,) = lines
    told = re.fullmatch(r"note      the network is run (.*); discarded: a copy (.*)", line)
    assert told[1] in {"as it is", "with channels last"}
    assert re.fullmatch(f"with channels last and {moved}; with {moved}", told[2])
    assert prepared.facts["batch_norms_folded"] == 0
    assert [f"with {reason}" for reason in prepared.facts["rejected"]] == told[2].split("; ")
    torch.testing.assert_close(signals["gate", "SE_1_1"], expected, rtol=0, atol=1e-5)


class OneLayout(networks.Functional):
    """Takes views that need channels first in memory."""

    def forward(self, x):
        return super().forward(F.relu(x).view(len(x), -1).view_as(x))


def test_a_network_of_one_memory_layout_runs_as_it_is():
    torch.manual_seed(0)
    network, batch = networks.Stem(OneLayout()).eval(), images(3, SIZE)
    with torch.no_grad():
        expected = network.gate_block.factor(F.relu(network.conv(batch)))[:, :, 0, 0]
    _, signals, lines, prepared = run(network, batch, size=SIZE)
    assert len(lines) == 1
    assert not prepared.facts["channels_last"]
    assert torch.equal(signals["gate", "SE_1_1"], expected)


@pytest.mark.parametrize("kind", [row[0] for row in WRITTEN])
def test_a_pass_without_predictions_gives_the_same_gates(kind):
    network, batch = build(kind), images(3, SIZE)
    _, expected, _, _ = run(network, batch, size=SIZE, exact=True)
    output, signals, _, _ = run(network, batch, size=SIZE, exact=True, predictions=False)
    assert output is None
    assert signals.keys() == expected.keys()
    assert all(torch.equal(signals[key], values) for key, values in expected.items())


def test_bfloat16_states_how_far_class_means_move():
    network, batch = living("legacy_seresnet18"), images(3)
    expected = by_plain_hooks(network, "se_module.sigmoid", batch)
    _, signals, lines, prepared = run(network, batch, dtype="bfloat16")
    for values, raw in zip(signals.values(), expected, strict=True):
        assert values.dtype == torch.bfloat16
        torch.testing.assert_close(values.float(), raw[:, :, 0, 0], rtol=0, atol=0.05)
    facts = prepared.facts["deviation"]
    assert 1e-4 < facts["class_mean_rms"] < facts["class_mean_largest"] < facts["gate_largest"] < 0.05
    assert (facts["images"], facts["classes"]) == (4, 2)
    (line,) = [line for line in lines if line.startswith("note      class means of gates move by up to ")]
    assert line.endswith("measured on 4 images of 2 classes")
    slower = [line for line in lines if line.startswith("warning   bfloat16 is slower here: ")]
    assert len(lines) == 1 + len(slower)


def test_an_automatic_batch_size_is_one_that_was_measured():
    _, _, lines, prepared = run(
        networks.Stem(networks.Functional()).eval(), images(3, SIZE), size=SIZE, batch_size=None
    )
    assert prepared.batch_size == prepared.facts["batch_size"]
    assert str(prepared.batch_size) in prepared.facts["images_per_second"]
    assert lines[0].startswith(f"batch     {prepared.batch_size} images; images per second: ")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"dtype": "float8"}, "the dtype 'float8' was requested; expected float32 or bfloat16."),
        (
            {"exact": True, "compile": True},
            "an exact run and compilation were requested; choose one of the two.",
        ),
        (
            {"exact": True, "dtype": "bfloat16"},
            "an exact run and the dtype bfloat16 were requested; choose one of the two.",
        ),
    ],
)
def test_choices_that_cannot_be(choices, message):
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        Execution(**choices)


class TimedPass:
    """A forward pass that takes a stated time for a batch, by a clock of its own; the sizes are kept."""

    def __init__(self, seconds_of) -> None:
        self.seconds_of = seconds_of
        self.now = 0.0
        self.sizes: list[int] = []

    def __call__(self, images):
        self.sizes.append(len(images))
        self.now += self.seconds_of(len(images))
        return None, {("gate", "a"): torch.zeros(1, 1)}

    def fastest(self):
        return fastest_batch_size(self, (3, 8, 8), clock=lambda: self.now)


def test_the_search_ends_where_larger_batches_gain_nothing():
    """An overhead of 20 ms is spread over more images until each takes longer from 16 on."""
    timed = TimedPass(lambda images: 0.02 + images * (0.001 if images <= 16 else 0.003))
    best, rates = timed.fastest()
    assert best == 16
    assert rates == pytest.approx({4: 4 / 0.024, 8: 8 / 0.028, 16: 16 / 0.036, 32: 32 / 0.116, 64: 64 / 0.212})
    assert timed.sizes == [4, 4, 8, 8, 16, 16, 32, 32, 64, 64]


def test_the_search_ends_when_its_time_is_up():
    timed = TimedPass(lambda images: BUDGET / 5)
    best, rates = timed.fastest()
    assert list(rates) == [4, 8, 16]
    assert best == 16


def test_a_full_memory_ends_the_search():
    def seconds_of(images):
        if images > 8:
            raise torch.OutOfMemoryError("full")
        return 0.01

    best, rates = TimedPass(seconds_of).fastest()
    assert best == 8
    assert list(rates) == [4, 8]


def test_a_network_that_fails_at_once_fails():
    def seconds_of(_images):
        raise RuntimeError("defect")

    with pytest.raises(RuntimeError, match=r"^defect$"):
        TimedPass(seconds_of).fastest()


CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture
def ampere(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    yield monkeypatch
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    torch.backends.cuda.matmul.fp32_precision = "none"
    torch.backends.mkldnn.conv.fp32_precision = "none"


def test_pytorch_rounds_convolutions_on_cuda_by_default(ampere):
    assert float32_precision(CUDA) == {"convolution": "tf32", "matrix_product": "ieee"}
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    assert float32_precision(CUDA) == {"convolution": "ieee", "matrix_product": "tf32"}


def test_older_devices_have_no_tf32(ampere):
    ampere.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert float32_precision(CUDA) == {"convolution": "ieee", "matrix_product": "ieee"}


def test_within_the_block_it_is_ieee_and_then_as_before(ampere):
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    assert float32_precision(CPU)["convolution"] == "bf16"
    with ieee_float32():
        assert float32_precision(CUDA) == float32_precision(CPU) == {"convolution": "ieee", "matrix_product": "ieee"}
    assert float32_precision(CUDA)["convolution"] == "tf32"
    assert float32_precision(CPU)["convolution"] == "bf16"


@pytest.mark.parametrize("execution", [Execution(), Execution(exact=True)])
def test_a_recording_says_it(ampere, tmp_path, execution):
    torch.backends.mkldnn.conv.fp32_precision = "tf32"
    recording = record(draw_images(tmp_path / "data"), tmp_path / "recording.zarr", execution=execution)
    assert recording.provenance["execution"]["float32_precision"]["convolution"] == "tf32"


def test_class_means():
    expected = {("gate", "a"): torch.zeros(3, 2), ("logit", "a"): torch.zeros(3, 2)}
    moved = torch.tensor([[0.1, 0.0], [-0.1, 0.2], [0.0, -0.4]])
    found = {("gate", "a"): moved, ("logit", "a"): torch.full((3, 2), 9.0)}
    facts = class_mean_deviation(expected, found, ["cat", "cat", "dog"])
    assert facts["class_mean_largest"] == pytest.approx(0.4)
    assert facts["class_mean_rms"] == pytest.approx(math.sqrt((0.1**2 + 0.4**2) / 4))
    assert facts["gate_largest"] == pytest.approx(0.4)
    assert (facts["images"], facts["classes"]) == (3, 2)
