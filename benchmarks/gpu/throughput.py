"""Images a second of every way of reading gates, as a share of the device's measured matrix rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.agreement import PRECISIONS
from benchmarks.gpu.bench import Bench, Outcome, tf32
from benchmarks.gpu.subject import NETWORKS, gates_of, model_named, output_modules
from benchmarks.ways import PEERS, Read, bare_forward, compiled_way, plain_loop, se_probe_ways
from se_probe.errors import first_line
from se_probe.gates import GateSite, find_gates
from se_probe.recording.engine import ieee_float32
from se_probe.recording.fast_copy import FastCopy, fast_copy
from se_probe.recording.forward import HookedNetwork, signals_for

BASE = "plain hook loop"
# Seconds that a compiled way takes, and those that the sections after it take: with less left none is begun.
_TO_COMPILE, _FOR_THE_REST = 40.0, 150.0
_TURN = 0.2


@dataclass(frozen=True)
class Way:
    """A way of reading gates, the precision it runs in, what prepares it, and facts of the copy that it runs."""

    name: str
    precision: str
    prepare: Callable[[], Read] = field(compare=False)
    facts: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Subject:
    """A network on the device, a batch for it, and what the CPU says about the first images of that batch."""

    name: str
    network: nn.Module
    images: torch.Tensor
    expected: torch.Tensor
    work: float

    @property
    def sites(self) -> Sequence[GateSite]:
        """The network's sites."""
        return find_gates(self.network, tuple(self.images.shape[1:]))

    def fast(self, dtype: torch.dtype | None = None) -> FastCopy:
        """Return the copy that a recording would run by default, or in another dtype."""
        plain, checked = HookedNetwork(self.network, self.sites), self.images[:8]
        with ieee_float32() if dtype else nullcontext():
            return fast_copy(plain, checked, signals_for(plain, checked), timed=self.images, dtype=dtype)


def subject_of(bench: Bench, name: str) -> Subject:
    """Return a network of random weights and a batch of noise."""
    model = model_named(name)
    images = torch.randn(4 if bench.quick else 128, *model.input_size, generator=torch.Generator().manual_seed(0))
    expected = gates_of(model.network, images[:4])
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.network(images[:1])
    placed = images.to(bench.device)
    return Subject(name, model.network.to(bench.device), placed, expected, float(counter.get_total_flops()))


def eager(bench: Bench) -> Iterator[Outcome]:
    """Measure everything that needs no compiler."""
    for name in NETWORKS[:1] if bench.quick else NETWORKS:
        subject = subject_of(bench, name)
        ways = [way for way in _plain(subject) if way.precision in bench.rates]
        ways += [*(_peers(subject) if name == NETWORKS[0] else []), *_ours(bench, subject)]
        yield from _measured(bench, subject, ways)


def compiled(bench: Bench) -> Iterator[Outcome]:
    """Measure compiled networks while time is left, beside the plain loop of the same precision."""
    for name in NETWORKS[:1] if bench.quick else NETWORKS:
        for precision in ("bfloat16", "float32"):
            if bench.left() < _TO_COMPILE + _FOR_THE_REST:
                yield Outcome(f"{name}: se-probe --compile, {precision}", "skipped", "no time was left to compile")
                continue
            subject = subject_of(bench, name)
            ways = [way for way in _plain(subject) if way.precision == precision and way.name == BASE]
            yield from _measured(bench, subject, [*ways, _compiled(subject, precision)])


def _plain(subject: Subject) -> list[Way]:
    paths, network = _paths(subject), subject.network
    return [
        Way(BASE, "float32", lambda: plain_loop(network, paths)),
        Way("bare forward", "float32", lambda: bare_forward(network)),
        Way(BASE, "tf32", lambda: plain_loop(network, paths)),
        Way(BASE, "bfloat16", lambda: _cast(plain_loop(deepcopy(network).to(torch.bfloat16), paths))),
    ]


def _cast(read: Read) -> Read:
    return lambda images: read(images.bfloat16())


def _paths(subject: Subject) -> list[str]:
    return list(output_modules(subject.sites).values())


def _peers(subject: Subject) -> list[Way]:
    paths = _paths(subject)
    return [Way(name, "float32", partial(build, deepcopy(subject.network), paths)) for name, build in PEERS.items()]


def _ours(bench: Bench, subject: Subject) -> list[Way]:
    ways = []
    for precision in [name for name in ("float32", "tf32") if name in bench.rates]:
        with tf32(PRECISIONS[precision][1]):
            fast = subject.fast()
        reads = se_probe_ways(subject.network, fast, subject.fast(torch.bfloat16), subject.sites)
        kept = [name for name in reads if "bfloat16" not in name and (precision == "float32" or "bare" not in name)]
        facts = {name: fast.facts() if name == "se-probe (default)" else {} for name in kept}
        ways += [Way(name, precision, partial(_given, reads[name]), facts[name]) for name in kept]
        if precision == "float32":
            ways.append(Way("se-probe", "bfloat16", partial(_given, reads["se-probe --dtype bfloat16"])))
    return ways


def _given(read: Read) -> Read:
    return read


def _compiled(subject: Subject, precision: str) -> Way:
    with tf32(False):
        copy = subject.fast(None if precision == "float32" else torch.bfloat16)
    size = tuple(subject.images.shape)
    return Way("se-probe --compile", precision, lambda: compiled_way(copy, subject.sites, size))


def _measured(bench: Bench, subject: Subject, ways: Sequence[Way]) -> Iterator[Outcome]:
    """Prepare ways, run them in turns, and report one row for each."""
    ready: list[tuple[Way, Read, int, float | None]] = []
    for way in ways:
        label = f"{subject.name}: {way.name}, {way.precision}"
        try:
            ready.append((way, *_prepared(bench, subject, way)))
        except ImportError:
            yield Outcome(label, "skipped", "not installed")
        except Exception as error:  # a peer that fails is a row of the table, and so is our own failure
            ours = way.name.startswith("se-probe")
            yield Outcome(label, "FAIL" if ours else "stated", f"fails: {type(error).__name__}: {first_line(error)}")
    times: dict[Way, list[float]] = {way: [] for way, *_ in ready}
    for _ in range(1 if bench.quick else 3):
        for way, read, repeats, _gap in ready:
            with tf32(PRECISIONS[way.precision][1]):
                times[way].append(bench.seconds(lambda read=read: read(subject.images), repeats))
    base = {way.precision: times[way] for way in times if way.name == BASE}
    for way, _read, _repeats, gap in ready:
        yield _row(bench, subject, way, times[way], base[way.precision], gap)


def _prepared(bench: Bench, subject: Subject, way: Way) -> tuple[Read, int, float | None]:
    """Return what reads, how often it runs in a turn, and its gates' distance from those of the CPU."""
    with tf32(PRECISIONS[way.precision][1]):
        read = way.prepare()
        found = read(subject.images)
        gap = None
        if found:
            gates = torch.cat([gate[: len(subject.expected)].double().cpu().flatten(1) for gate in found], dim=1)
            gap = float((gates - subject.expected).abs().max())
        read(subject.images)
        taken = bench.seconds(lambda: read(subject.images), 1)
    return read, 1 if bench.quick else max(1, round(_TURN / taken)), gap


def _row(
    bench: Bench, subject: Subject, way: Way, times: Sequence[float], base: Sequence[float], gap: float | None
) -> Outcome:
    rate = len(subject.images) / median(times)
    ratios = [plain / own for plain, own in zip(base, times, strict=True)]
    share = rate * subject.work / bench.rates[way.precision]
    bench.images_per_second[subject.name, way.name, way.precision] = rate
    apart = "reads no gates" if gap is None else f"gates {gap:.0e} from the CPU's float32"
    detail = (
        f"{rate:.0f} images/s, {median(ratios):.2f} × the plain loop ({min(ratios):.2f}–{max(ratios):.2f}), "
        f"{share:.0%} of the matrix rate; {apart}"
    )
    if way.facts:
        layout = "channels last" if way.facts["channels_last"] else "channels first"
        detail += f"; {layout}, {way.facts['batch_norms_folded']} batch norms folded"
    facts = {"images_per_second": rate, "ratios": ratios, "share": share, "gap": gap, "batch": len(subject.images)}
    facts |= way.facts
    label = f"{subject.name}: {way.name}, {way.precision}"
    if way.precision == "float32" and gap is not None:
        return Outcome(label, "pass" if gap <= 1e-5 else "FAIL", detail, facts)
    return Outcome(label, "stated", detail, facts)
