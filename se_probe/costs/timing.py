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

from se_probe.costs.network_cost import check_flow, gate_path, products_of
from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.trace.dry_pass import dry_pass, left_alone, unwrap
from se_probe.trace.example import noise_for
from se_probe.trace.flow import follow
from se_probe.trace.operation import Operation
from se_probe.trace.watching import WatchMode

CONFIDENCE = 0.95
FEWEST_ROUNDS, FEWEST_PAIRS = 15, 10
WARM_UP = 3

Floats = NDArray[np.float64]
Run = Callable[[torch.Tensor], object]
Part = Literal["gate", "gate and product"]


@dataclass(frozen=True)
class Share:
    """Share of a pass that the gates of some sites take.

    Attributes:
        sites: which sites, by the name of their group.
        part: "gate" for the operations that compute them, "gate and product" with the multiplications by them.
        share: median over rounds of the time of these operations over the time of all.
        low, high: 95 % limits of that median.
        milliseconds: median time of these operations.
    """

    sites: str
    part: Part
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
        rounds: how many passes were timed in each way.
        network_milliseconds: median run time of the network as it is.
        operations_milliseconds: median time of its operations one by one, which the shares relate to.
        shares: what the gates take.
    """

    device: str
    threads: int
    batch_size: int
    rounds: int
    network_milliseconds: float
    operations_milliseconds: float
    shares: tuple[Share, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True)
class Timing:
    """Times of one forward pass of the same batch through two networks.

    Attributes:
        batch: images in it.
        device: where it ran.
        threads: CPU threads that torch uses.
        pairs: how many pairs were measured.
        before, after: median times in milliseconds.
        ratio: median over pairs of after / before; below 1 the second network is faster.
        low, high: 95 % limits of that median.
    """

    batch: int
    device: str
    threads: int
    pairs: int
    before: float
    after: float
    ratio: float
    low: float
    high: float


class GateTimer:
    """Times a network as it is and operation by operation; a gate takes the time of the operations that compute it.

    Which operations compute a gate is told by the flow of data, as in `network_cost`, whatever modules call them.

    Args:
        network: any network; it is timed in evaluation mode, on its device, and left as it was.
        sites: what `find_gates` returned for it, or some of them.
        input_size: size of its input without the image axis.
        groups: names of further groups of sites; all sites are "all".
        batch_size: images in a batch.
        rounds: how many passes are timed in each way.

    Attributes:
        seconds: approximate duration of `measure`.

    Raises:
        SeProbeError: fewer rounds than an interval needs, or a site that does not belong to the network.
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
            raise SeProbeError(f"{rounds} rounds of timing were asked for; expected at least {FEWEST_ROUNDS}.")
        self._rounds = rounds
        self._network = unwrap(network)
        self._batch = noise_for(self._network, input_size, batch_size)
        flow = dry_pass(self._network, input_size, follow, batch_size)
        check_flow(self._network, flow, sites)
        self._parts: dict[tuple[str, Part], set[Operation]] = {}
        for name, group in {"all": sites, **(groups or {})}.items():
            path = {step.operation for number in gate_path(flow, group) if (step := flow.steps[number]).operation}
            self._parts[name, "gate"] = path
            self._parts[name, "gate and product"] = path | {product.operation for product in products_of(group)}
        with left_alone(self._network):
            warm = [interleaved([self._network, self._operations], self._batch, 1) for _ in range(WARM_UP)]
        self.seconds = rounds * float(warm[-1].sum())

    def measure(self, advance: Callable[[int], object] = lambda _: None) -> RunTime:
        """Time the network as it is and operation by operation in every round; `advance(1)` is called after each.

        Raises:
            SeProbeError: a pass makes other operations than the one in which the gates were looked for.
        """
        rounds: list[dict[Operation, float]] = []

        def operations(batch: torch.Tensor) -> None:
            rounds.append(self._operations(batch))

        with left_alone(self._network):
            network = interleaved([self._network, operations], self._batch, self._rounds, advance=advance)[:, 0]
        if any(not part <= times.keys() for part in self._parts.values() for times in rounds):
            raise SeProbeError(
                f"a timed pass of {type(self._network).__name__} made other operations than the pass in which its "
                "gates were looked for, so that their share is not known; leave out timing (--no-time)."
            )
        whole = np.array([sum(times.values()) for times in rounds])
        shares = []
        for key, part in self._parts.items():
            taken = np.array([sum(times[item] for item in part) for times in rounds])
            shares.append(Share(*key, *median_and_limits(taken / whole), 1000 * float(np.median(taken))))
        return RunTime(
            device=str(self._batch.device),
            threads=torch.get_num_threads(),
            batch_size=len(self._batch),
            rounds=self._rounds,
            network_milliseconds=1000 * float(np.median(network)),
            operations_milliseconds=1000 * float(np.median(whole)),
            shares=tuple(shares),
        )

    def _operations(self, batch: torch.Tensor) -> dict[Operation, float]:
        mode = _OperationTimes(batch.device)
        with mode:
            self._network(batch)
        return mode.seconds


class _OperationTimes(WatchMode):
    """Times every elementary operation of a pass, each until its device has finished."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.seconds: dict[Operation, float] = {}
        self._device = device

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        start = time.perf_counter()
        output = func(*args, **kwargs)
        _synchronise(self._device)
        self.seconds[self._operation] = time.perf_counter() - start
        return output


def paired_timing(
    before: nn.Module, after: nn.Module, batch: torch.Tensor, *, pairs: int = 40, seconds: float = 30
) -> Timing:
    """Time two networks on a batch, for at least ten pairs; after `seconds` no further pair begins.

    Args:
        before, after: the networks, in evaluation mode and on the batch's device.
        batch: `(image, 3, H, W)`.
        pairs: number of pairs.
        seconds: time limit.
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
        runs: what is timed, each until the batch's device has finished.
        batch: what they are given.
        rounds: how often each is run.
        limit: seconds after which no further round begins, but for the first ten.
        advance: called with 1 after a round.
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
    """Return the median of independent values and its 95 % limits, order statistics as in the sign test.

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
