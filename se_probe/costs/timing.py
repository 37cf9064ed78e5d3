"""The share of run time that gates take, measured by replacing them by constants, in pairs on this machine."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from se_probe.costs.network_cost import check_flow
from se_probe.costs.replay import Replay, Tape
from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.trace.dry_pass import dry_pass, evaluation_mode, unwrap
from se_probe.trace.example import noise_for
from se_probe.trace.watching import tensors_in

CONFIDENCE = 0.95
FEWEST_ROUNDS = 15
WARM_UP = 3
# How far a replay may be from the network, over the largest output: kernels of accelerators add in any order.
TOLERANCE = 1e-3

Floats = NDArray[np.float64]
Replaced = Literal["gate", "gate and product"]


@dataclass(frozen=True)
class Share:
    """Share of run time saved by replacing gates.

    Attributes:
        sites: which sites, by the name of their group.
        replaced: "gate" where feature maps are still multiplied, by constants; "gate and product" where they are not.
        share: 1 minus the median over rounds of the run time without over the run time with.
        low, high: 95 % limits of that median.
        milliseconds: median run time without.
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
        shares: what the gates take.
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


class GateTimer:
    """Times a network as it is, a replay of its operations, and replays with gates replaced by constants.

    A replay runs the elementary operations of one pass without the modules around them, so that a gate path can be
    removed wherever it was computed. The constants are the gates that the network computed; the output of a replay
    must equal the network's.

    Args:
        network: any network; it is timed in evaluation mode, on its device, and left as it was.
        sites: what `find_gates` returned for it, or some of them.
        input_size: size of its input without the image axis.
        groups: names of further groups of sites that are replaced together; all sites are "all".
        batch_size: images in a batch.
        rounds: how often every variant is timed.

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
        check_rounds(rounds)
        self._rounds = rounds
        self._network = unwrap(network)
        self._batch = noise_for(self._network, input_size, batch_size)
        tape = dry_pass(self._network, input_size, lambda item, batch: Tape(item, batch, sites), batch_size)
        check_flow(self._network, tape.flow, sites)
        self._as_is = torch.inference_mode()(self._network)
        self._replay = tape.replay()
        self._variants: dict[tuple[str, Replaced], Replay] = {}
        for name, group in {"all": sites, **(groups or {})}.items():
            self._variants[name, "gate"] = tape.replay(group)
            self._variants[name, "gate and product"] = tape.replay(group, products=False)
        with evaluation_mode(self._network):
            self._check(input_size)
            self._warm_up()

    def measure(self, advance: Callable[[int], object] = lambda _: None) -> RunTime:
        """Time every variant once a round, in an order drawn anew for each; `advance(1)` is called after a round."""
        runs = self._runs()
        seconds = np.empty((self._rounds, len(runs)))
        shuffle = random.Random(0)
        with evaluation_mode(self._network), _without_collection():
            for row in seconds:
                for place in shuffle.sample(range(len(runs)), len(runs)):
                    row[place] = seconds_of(runs[place], self._batch)
                advance(1)
        return self._result(seconds)

    @property
    def seconds(self) -> float:
        """Approximate duration of `measure`, in seconds."""
        return self._rounds * self._round_seconds

    def _check(self, input_size: Sequence[int]) -> None:
        """Compare the replay with the network, on other noise too; with constant gates on the tape's own batch."""
        other = noise_for(self._network, input_size, len(self._batch), seed=1)
        gates = [replay for (_, replaced), replay in self._variants.items() if replaced == "gate"]
        runs = [(self._replay, other), *((replay, self._batch) for replay in (self._replay, *gates))]
        for replay, batch in runs:
            if not _alike(replay(batch.clone()), tensors_in(self._as_is(batch.clone()))):
                raise SeProbeError(
                    f"a pass of {type(self._network).__name__} cannot be replayed: its operations, called again, give "
                    "another output (its way may depend on the values of the input); leave out timing (--no-time)."
                )

    def _warm_up(self) -> None:
        for _ in range(WARM_UP):
            self._round_seconds = sum(seconds_of(run, self._batch) for run in self._runs())

    def _runs(self) -> list[Callable[[torch.Tensor], object]]:
        return [self._as_is, self._replay, *self._variants.values()]

    def _result(self, seconds: Floats) -> RunTime:
        medians = 1000 * np.median(seconds, axis=0)
        return RunTime(
            device=str(self._batch.device),
            threads=torch.get_num_threads(),
            batch_size=len(self._batch),
            rounds=len(seconds),
            network_milliseconds=float(medians[0]),
            replay_milliseconds=float(medians[1]),
            shares=tuple(
                Share(*key, *paired_share(seconds[:, 1], seconds[:, place]), float(medians[place]))
                for place, key in enumerate(self._variants, start=2)
            ),
        )


def paired_share(whole: Floats, without: Floats) -> tuple[float, float, float]:
    """Return the share of time saved, from run times of the same rounds, and its 95 % limits.

    The share is 1 minus the median of without over whole. The limits are order statistics of these ratios, those of
    the sign test, for rounds that are independent; in simulation they cover the median in at least 95 % of cases.

    Source: Conover, Practical Nonparametric Statistics (1999), section 3.2.
    """
    ratio, low, high = median_ratio(whole, without)
    return 1 - ratio, 1 - high, 1 - low


def median_ratio(before: Floats, after: Floats) -> tuple[float, float, float]:
    """Return the median of after / before over pairs of run times, and its 95 % limits by the sign test.

    Source: Conover, Practical Nonparametric Statistics (1999), section 3.2.
    """
    ratios = after / before
    limits = stats.quantile_test(ratios, p=0.5).confidence_interval(CONFIDENCE)
    return float(np.median(ratios)), float(limits.low), float(limits.high)


def seconds_of(run: Callable[[torch.Tensor], object], batch: torch.Tensor) -> float:
    """Return how long one pass of a batch takes, until its device has finished."""
    _synchronise(batch.device)
    start = time.perf_counter()
    run(batch)
    _synchronise(batch.device)
    return time.perf_counter() - start


def check_rounds(rounds: int) -> None:
    """Raise SeProbeError for too few rounds for an interval."""
    if rounds < FEWEST_ROUNDS:
        raise SeProbeError(f"{rounds} rounds of timing were asked for; expected at least {FEWEST_ROUNDS}.")


def _alike(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    for first, second in zip(one, other, strict=True):
        reach = TOLERANCE * max(1e-6, float(second.float().abs().nan_to_num().max()))
        if not torch.allclose(first.float(), second.float(), rtol=0, atol=reach, equal_nan=True):
            return False
    return True


def _synchronise(device: torch.device) -> None:
    if device.type in {"cuda", "mps", "xpu"}:
        getattr(torch, device.type).synchronize()


@contextmanager
def _without_collection() -> Iterator[None]:
    """Disable Python's garbage collector while measuring."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
