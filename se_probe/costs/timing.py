"""Run times on this machine: the share of gates in a pass, and two networks in pairs."""

from __future__ import annotations

import math
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from se_probe.costs.network_cost import check_flow
from se_probe.costs.replay import ReplayedPass
from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.trace.dry_pass import dry_pass, left_alone, noise_for, unwrap
from se_probe.trace.watching import tensors_in

CONFIDENCE = 0.95
FEWEST_ROUNDS, FEWEST_PAIRS = 15, 10
WARM_UP = 3
# Largest deviation of a replay from the network, over the largest output: accelerators add in any order.
TOLERANCE = 1e-3

Floats = NDArray[np.float64]
Run = Callable[[torch.Tensor], object]
Replaced = Literal["gate", "gate and product"]


@dataclass(frozen=True)
class Share:
    """Share of run time saved by replacing gates.

    Attributes:
        sites: which sites, by the name of their group.
        replaced: "gate" where feature maps are still multiplied, by constants; "gate and product" where they are not.
        share: 1 minus the median over rounds of the run time without gates over that with gates.
        low, high: 95 % limits of that median.
        milliseconds: median run time without gates.
    """

    sites: str
    replaced: Replaced
    share: float
    low: float
    high: float
    milliseconds: float


@dataclass(frozen=True)
class RunTime:
    """Run time of a network for a batch on one machine, and the share that its gates take.

    Attributes:
        device: the torch device.
        threads: threads of torch on the CPU.
        batch_size: images in a batch.
        rounds: how often every variant was timed.
        network_milliseconds: median run time of the network as it is.
        replay_milliseconds: median run time of its operations replayed, which the shares relate to.
        shares: the shares of the gates.
    """

    device: str
    threads: int
    batch_size: int
    rounds: int
    network_milliseconds: float
    replay_milliseconds: float
    shares: tuple[Share, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True)
class Timing:
    """Times of one forward pass of the same batch through two networks."""

    batch: int  # images in it
    device: str  # the torch device
    threads: int  # threads of torch on the CPU
    pairs: int  # number of pairs measured
    # before, after: median times in milliseconds.
    before: float
    after: float
    ratio: float  # median over pairs of after / before; below 1 the second network is faster
    # low, high: 95 % limits of that median.
    low: float
    high: float


class GateTimer:
    """Times a network as it is, a replay of its operations, and replays with gates replaced by constants.

    A replay runs the elementary operations of one pass without the modules around them, so that any gate path can be
    left out. The constants are the gates that the network computed; the output of a replay must equal the network's.

    Args:
        network: any network; it is timed in evaluation mode, on its device, and left as it was.
        sites: all or some of the sites that `find_gates` returned for it.
        input_size: size of its input without the image axis.
        groups: name → sites that are replaced together, besides all sites ("all").
        batch_size: images in a batch.
        rounds: how often every variant is timed.

    Attributes:
        seconds: approximate duration of `measure`.

    Raises:
        SeProbeError: fewer rounds than an interval needs, a site that does not belong to the network, or a pass that
            cannot be replayed.
    """

    def __init__(
        self,
        network: nn.Module,
        sites: Sequence[GateSite],
        input_size: Sequence[int],
        groups: Mapping[str, Sequence[GateSite]] | None = None,
        batch_size: int = 1,
        rounds: int = 25,
    ) -> None:
        if rounds < FEWEST_ROUNDS:
            raise SeProbeError(f"{rounds} rounds of timing were requested; expected at least {FEWEST_ROUNDS}.")
        self._rounds = rounds
        self._network = unwrap(network)
        self._batch = noise_for(self._network, input_size, batch_size)
        taken = dry_pass(self._network, input_size, lambda item, batch: ReplayedPass(item, batch, sites), batch_size)
        check_flow(self._network, taken.flow, sites)
        self._replay = taken.replay()
        self._variants: dict[tuple[str, Replaced], Run] = {}
        for name, group in {"all": sites, **(groups or {})}.items():
            self._variants[name, "gate"] = taken.replay(group)
            self._variants[name, "gate and product"] = taken.replay(group, products=False)
        self._runs: list[Run] = [self._network, self._replay, *self._variants.values()]
        with left_alone(self._network):
            self._check(noise_for(self._network, input_size, batch_size, seed=1))
            self.seconds = rounds * float(interleaved(self._runs, self._batch, WARM_UP)[-1].sum())

    def measure(self, advance: Callable[[int], object] = lambda _: None) -> RunTime:
        """Time every variant once a round; `advance(1)` is called after each."""
        with left_alone(self._network):
            seconds = interleaved(self._runs, self._batch, self._rounds, advance=advance)
        medians = 1000 * np.median(seconds, axis=0)
        shares = []
        for place, key in enumerate(self._variants, start=2):
            ratio, low, high = median_and_limits(seconds[:, place] / seconds[:, 1])
            shares.append(Share(*key, 1 - ratio, 1 - high, 1 - low, float(medians[place])))
        return RunTime(
            device=str(self._batch.device),
            threads=torch.get_num_threads(),
            batch_size=len(self._batch),
            rounds=self._rounds,
            network_milliseconds=float(medians[0]),
            replay_milliseconds=float(medians[1]),
            shares=tuple(shares),
        )

    def _check(self, other: torch.Tensor) -> None:
        """Compare replays with the network: on other noise, and with constant gates on the batch of these gates."""
        gates = [replay for (_, replaced), replay in self._variants.items() if replaced == "gate"]
        runs = [(self._replay, other), *((replay, self._batch) for replay in (self._replay, *gates))]
        with torch.inference_mode():
            alike = [_alike(replay(batch.clone()), self._network(batch.clone())) for replay, batch in runs]
        if not all(alike):
            raise SeProbeError(
                f"a pass of {type(self._network).__name__} cannot be replayed: its operations, called again, give "
                "another output (its way may depend on the values of the input); leave out timing (--no-time)."
            )


def _alike(replayed: object, output: object) -> bool:
    for one, other in zip(tensors_in(replayed), tensors_in(output), strict=True):
        reach = TOLERANCE * max(1e-6, float(other.float().abs().nan_to_num().max()))
        if not torch.allclose(one.float(), other.float(), rtol=0, atol=reach, equal_nan=True):
            return False
    return True


def paired_timing(
    before: nn.Module, after: nn.Module, batch: torch.Tensor, *, pairs: int = 40, seconds: float = 30
) -> Timing:
    """Time two networks on a batch in pairs of runs.

    Args:
        seconds: time limit after which no further pair begins, except for the first ten.
    """
    interleaved([before, after], batch, WARM_UP)
    times = interleaved([before, after], batch, pairs, limit=seconds)
    first, second = 1000 * np.median(times, axis=0)
    ratio = median_and_limits(times[:, 1] / times[:, 0])
    device, threads = str(batch.device), torch.get_num_threads()
    return Timing(len(batch), device, threads, len(times), float(first), float(second), *ratio)


def interleaved(
    runs: Sequence[Run],
    batch: torch.Tensor,
    rounds: int,
    *,
    limit: float = math.inf,
    advance: Callable[[int], object] = lambda _: None,
) -> Floats:
    """Return the seconds of several runs of a batch, `(round, run)`; their order alternates from round to round.

    Args:
        limit: seconds after which no further round begins, except for the first ten.
        advance: called with 1 after each round.
    """
    times: list[list[float]] = []
    with torch.inference_mode():
        began = time.perf_counter()
        while len(times) < rounds and (len(times) < FEWEST_PAIRS or time.perf_counter() - began < limit):
            order = 1 if len(times) % 2 else -1
            times.append([_seconds_of(run, batch) for run in runs[::order]][::order])
            advance(1)
    return np.array(times)


def median_and_limits(values: Floats) -> tuple[float, float, float]:
    """Return the median of independent values and its 95 % limits, which are order statistics as in the sign test.

    Source: Conover, Practical Nonparametric Statistics (1999), section 3.2.
    """
    limits = stats.quantile_test(values, p=0.5).confidence_interval(CONFIDENCE)
    return float(np.median(values)), float(limits.low), float(limits.high)


def _seconds_of(run: Run, batch: torch.Tensor) -> float:
    def once() -> None:
        run(batch)
        _synchronise(batch.device)

    _synchronise(batch.device)
    return timeit.timeit(once, timer=time.perf_counter, number=1)


def _synchronise(device: torch.device) -> None:
    if device.type in {"cuda", "mps", "xpu"}:
        getattr(torch, device.type).synchronize()
