"""How fast gates are read: se-probe against a plain hook loop and its peers, and against the machine's arithmetic.

    python -m benchmarks.speed [--models NAME,NAME] [--batch 16] [--rounds 5] [--compile] [--clock cpu] >> table.md

All ways read the same gates of the same images in turns, round after round, the plain loop, each peer and se-probe in a
program of its own; in each turn the second of two batches is timed. Ratios are medians over rounds of the plain loop's
time in a round over a way's time in that round. Only ratios of one run mean anything.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from multiprocessing.connection import Client, Listener
from statistics import median

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ways import PEERS, Gates, Read, bare_forward, compiled_way, plain_loop, se_probe_ways
from se_probe.gates import GateSite, find_gates
from se_probe.recording.fast_copy import fast_copy
from se_probe.recording.forward import HookedNetwork, signals_for
from se_probe.recording.memory import keep_freed_memory

MODELS = "legacy_seresnet50,skresnext50_32x4d,resnest50d"
BASE = "plain hook loop"
GROUPS = ("plain", *PEERS, "se-probe", "products")
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
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(options)
        return
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
    with ExitStack() as stack:
        programs = [stack.enter_context(_Program(group, name, options)) for group in GROUPS]
        gates = {way: found for program in programs for way, found in program.gates.items()}
        failed = {program.group: program.failure for program in programs if program.failure}
        rounds = [
            {way: taken for program in programs for way, taken in program.round().items()}
            for _ in range(options.rounds)
        ]
    times = {way: [taken[way] for taken in rounds] for way in gates}
    rates = {way: 2 * SIDE**3 / median(times.pop(way)) / 1e9 for way in PRODUCTS}
    work = _work(*_subject(name, options))
    lines = [
        f"### {name}: {options.batch} images of 224×224, {options.rounds} rounds, {work:.1f} GFLOP per image\n",
        f"Matrix products: {rates['float32']:.0f} GFLOP/s in float32, {rates['bfloat16']:.0f} in bfloat16.\n",
        "| method | speed, plain loop = 1 | lowest–highest | images/s | share of the float32 limit | gates differ by |",
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


class _Program:
    """A program with some ways of reading, which waits until it is asked for a round.

    What one way does to the memory of its process must not help or hinder another.
    """

    def __init__(self, group: str, name: str, options: argparse.Namespace) -> None:
        self.group = group
        with Listener() as listener:
            arguments = [f"--batch={options.batch}", f"--threads={options.threads}", f"--clock={options.clock}"]
            arguments += ["--compile"] if options.compile else []
            place = ["--serve", group, str(listener.address), f"--models={name}"]
            self._process = subprocess.Popen([sys.executable, "-m", "benchmarks.speed", *place, *arguments])
            self._connection = listener.accept()
        self.gates: dict[str, list[Array]]
        self.gates, self.failure = self._connection.recv()

    def __enter__(self) -> _Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.wait()

    def round(self) -> dict[str, float]:
        """Return the seconds of each way in one round."""
        self._connection.send("round")
        times: dict[str, float] = self._connection.recv()
        return times


def _serve(options: argparse.Namespace) -> None:
    group, address = options.serve
    warnings.simplefilter("ignore")
    network, images = _subject(options.models, options)
    failure, gates, ways = "", {}, {}
    with keep_freed_memory() if group == "se-probe" else nullcontext(), Client(address) as connection:
        try:
            ways = _ways(group, network, images, compile=options.compile)
            gates = {way: [gate.float().numpy() for gate in read(images)] for way, read in ways.items()}
        except Exception as error:  # a peer that cannot do it is a row of the table
            failure = "not installed" if isinstance(error, ImportError) else f"fails: {type(error).__name__}"
            ways = {}
        connection.send((gates, failure))
        with suppress(EOFError):
            while connection.recv():
                connection.send(_round(ways, images, CLOCKS[options.clock]))


def _subject(name: str, options: argparse.Namespace) -> tuple[nn.Module, torch.Tensor]:
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return timm.create_model(name).eval().requires_grad_(False), torch.randn(options.batch, 3, 224, 224)


def _round(ways: Mapping[str, Read], images: torch.Tensor, clock: Callable[[], float]) -> dict[str, float]:
    times = {}
    for way, read in ways.items():
        read(images)  # the first batch of a run, which differs from the many that follow
        start = clock()
        read(images)
        times[way] = clock() - start
    return times


def _ways(group: str, network: nn.Module, images: torch.Tensor, *, compile: bool) -> dict[str, Read]:
    if group == "products":
        return _products()
    sites = find_gates(network)
    if group == "se-probe":
        return _ours(network, sites, images, compile=compile)
    paths = [site.hook_point.module for site in sites if site.hook_point and site.hook_point.module != site.module]
    if group == "plain":
        return {BASE: plain_loop(network, paths), "bare forward": bare_forward(network)}
    return {group: PEERS[group](network, paths)}


def _ours(network: nn.Module, sites: Sequence[GateSite], images: torch.Tensor, *, compile: bool) -> dict[str, Read]:
    plain, checked = HookedNetwork(network, sites), images[:8]
    expected = signals_for(plain, checked)
    fast = fast_copy(plain, checked, expected)
    half = fast_copy(plain, checked, expected, dtype=torch.bfloat16)
    ways = se_probe_ways(network, fast, half, sites)
    if compile:
        size = tuple(images.shape)
        ways["se-probe --compile"] = compiled_way(fast, sites, size)
        ways["bare forward as --compile"] = compiled_way(fast, (), size)
        ways["se-probe --compile --dtype bfloat16"] = compiled_way(half, sites, size)
    return ways


def _products() -> dict[str, Read]:
    """Square matrix products, the machine's arithmetic limit."""

    def product(dtype: torch.dtype) -> Read:
        factor = torch.ones(SIDE, SIDE, dtype=dtype)

        def read(_images: torch.Tensor) -> Gates:
            return [factor @ factor]

        return read

    return {way: product(dtype) for way, dtype in PRODUCTS.items()}


def _work(network: nn.Module, images: torch.Tensor) -> float:
    """Return the convolutions' and matrix products' floating-point operations for an image, in 10⁹."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images[:1])
    return float(counter.get_total_flops() / 1e9)


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
    return f"Cost of recording over the bare forward pass at the same settings: {', '.join(parts)}.\n"


if __name__ == "__main__":
    main()
