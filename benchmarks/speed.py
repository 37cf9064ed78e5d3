"""How fast gates are read: se-probe against a plain hook loop and its peers, and against the machine's arithmetic.

    python -m benchmarks.speed [--models NAME,NAME] [--batch 16] [--rounds 5] [--compile] [--clock cpu] >> table.md

All ways read the same gates of the same images in turns, round after round; in each turn the second of two batches is
timed. Ratios are medians over rounds of the plain loop's time in a round over a way's time in that round. Only ratios
of one run mean anything.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from multiprocessing.connection import Connection
from statistics import median

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ways import PEERS, Gates, Read, bare_forward, compiled_ways, plain_loop, se_probe_ways
from se_probe.gates import find_gates
from se_probe.recording.allocation import memory_kept
from se_probe.recording.fast import fast_copy
from se_probe.recording.hooked import HookedNetwork, signals_for

MODELS = "legacy_seresnet50,skresnext50_32x4d,resnest50d"
BASE = "plain hook loop"
Array = NDArray[np.float32]
PRODUCTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SIDE = 2048
CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    """Measure the networks that were asked for and print a Markdown table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: for a machine that others use")
    parser.add_argument("--compile", action="store_true", help="compile too, which takes minutes")
    options = parser.parse_args()
    print(machine(options.threads, options.clock))
    for name in options.models.split(","):
        print(table(name, options), flush=True)


def machine(threads: int, clock: str) -> str:
    """Return one line about the machine and the libraries."""
    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as facts:
            processor = next((line.split(":")[1].strip() for line in facts if line.startswith("model name")), processor)
    timed = "processor time" if clock == "cpu" else "wall-clock time"
    return (
        f"{processor}, {torch.backends.cpu.get_cpu_capability()}, {threads} threads, {timed}; "
        f"torch {torch.__version__}, timm {timm.__version__}, Python {platform.python_version()}\n"
    )


def table(name: str, options: argparse.Namespace) -> str:
    """Return the Markdown table of one network."""
    network, images = _subject(name, options)
    peers, failed = _peers(network, images)
    with _Ours(name, options) as ours:
        gates = {**_gates(peers, images), **ours.gates}
        rounds = [{**_round(peers, images, CLOCKS[options.clock]), **ours.round()} for _ in range(options.rounds)]
    times = {way: [taken[way] for taken in rounds] for way in gates}
    rates = {way: 2 * SIDE**3 / median(times.pop(way)) / 1e9 for way in PRODUCTS}
    work = _work(network, images[:1])
    lines = [
        f"### {name}: {options.batch} images of 224×224, {options.rounds} rounds, {work:.1f} GFLOP an image\n",
        f"Matrix products: {rates['float32']:.0f} GFLOP/s in float32, {rates['bfloat16']:.0f} in bfloat16.\n",
        "| way | speed, plain loop = 1 | lowest–highest | images/s | share of the float32 limit | gates differ by |",
        "|---|---|---|---|---|---|",
    ]
    for way, taken in times.items():
        ratios = [base / own for base, own in zip(times[BASE], taken, strict=True)]
        speed = options.batch / median(taken)
        lines.append(
            f"| {way} | {median(ratios):.2f} | {min(ratios):.2f}–{max(ratios):.2f} | {speed:.1f} "
            f"| {speed * work / rates['float32']:.0%} | {_difference(gates[BASE], gates[way])} |"
        )
    lines += [f"| {way} | {reason} | | | | |" for way, reason in failed.items()]
    return "\n".join([*lines, "", _overheads(times)])


class _Ours:
    """A process with se-probe's ways, which waits until it is asked for a round.

    What se-probe does to a process's memory would help the others too, and torchlens refuses any but the first process.
    """

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, name, options), daemon=True)
        self._process.start()
        other.close()
        self.gates: dict[str, list[Array]] = self._connection.recv()

    def __enter__(self) -> _Ours:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()

    def round(self) -> dict[str, float]:
        """Return the seconds of each way in one round."""
        self._connection.send("round")
        times: dict[str, float] = self._connection.recv()
        return times


def _serve(connection: Connection, name: str, options: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    network, images = _subject(name, options)
    with memory_kept():
        ways = _ours(network, images, options.compile)
    connection.send(_gates(ways, images))
    while connection.recv():
        with memory_kept():
            times = _round(ways, images, CLOCKS[options.clock])
        connection.send(times)


def _subject(name: str, options: argparse.Namespace) -> tuple[nn.Module, torch.Tensor]:
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return timm.create_model(name).eval().requires_grad_(False), torch.randn(options.batch, 3, 224, 224)


def _gates(ways: Mapping[str, Read], images: torch.Tensor) -> dict[str, list[Array]]:
    return {way: [gates.float().numpy() for gates in read(images)] for way, read in ways.items()}


def _round(ways: Mapping[str, Read], images: torch.Tensor, clock: Callable[[], float]) -> dict[str, float]:
    times = {}
    for way, read in ways.items():
        read(images)  # the first batch of a run, which differs from the many that follow
        start = clock()
        read(images)
        times[way] = clock() - start
    return times


def _peers(network: nn.Module, images: torch.Tensor) -> tuple[dict[str, Read], dict[str, str]]:
    paths = [site.tap.module for site in find_gates(network) if site.tap is not None and site.tap.kind == "output"]
    ways, failed = {BASE: plain_loop(network, paths), "bare forward": bare_forward(network)}, {}
    for peer, make in PEERS.items():
        try:
            ways[peer] = make(network, paths)
            ways[peer](images[:2])
        except Exception as error:  # a peer that cannot do it is a row of the table
            ways.pop(peer, None)
            failed[peer] = "not installed" if isinstance(error, ImportError) else f"fails: {type(error).__name__}"
    return {**ways, **_products()}, failed


def _ours(network: nn.Module, images: torch.Tensor, compile: bool) -> dict[str, Read]:
    sites = find_gates(network)
    expected = signals_for(HookedNetwork(network, sites), images[:8])
    fast = fast_copy(network, sites, (), images[:8], expected)
    half = replace(fast, network=deepcopy(fast.network).to(torch.bfloat16))
    ways = se_probe_ways(network, fast, half, sites)
    if compile:
        ways |= compiled_ways(fast, half, sites, tuple(images.shape))
    return ways


def _products() -> dict[str, Read]:
    """Square matrix products, the machine's arithmetic limit."""

    def product(dtype: torch.dtype) -> Read:
        factor = torch.ones(SIDE, SIDE, dtype=dtype)

        def read(_images: torch.Tensor) -> Gates:
            return [factor @ factor]

        return read

    return {way: product(dtype) for way, dtype in PRODUCTS.items()}


def _work(network: nn.Module, image: torch.Tensor) -> float:
    """Return the convolutions' and matrix products' floating-point operations for an image, in 10⁹."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() / 1e9


def _difference(expected: Sequence[Array], found: Sequence[Array]) -> str:
    if not found:
        return "reads none"
    largest = max(float(abs(a.ravel() - b.ravel()).max()) for a, b in zip(expected, found, strict=True))
    return "0" if largest == 0 else f"{largest:.0e}"


def _overheads(times: Mapping[str, list[float]]) -> str:
    """Say what recording adds to the forward pass at the same settings."""
    parts = []
    for way in ("--exact", "(default)", "--compile"):
        bare = times.get(f"bare forward as {way.strip('()')}")
        if bare is not None:
            both = zip(times[f"se-probe {way}"], bare, strict=True)
            parts.append(f"{100 * (median(own / alone for own, alone in both) - 1):+.1f} % {way}")
    return f"Recording over the bare forward pass at the same settings: {', '.join(parts)}.\n"


if __name__ == "__main__":
    main()
