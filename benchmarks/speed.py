"""How fast gates are read: se-probe against a plain hook loop and its peers, and against the machine's arithmetic.

    python -m benchmarks.speed [--models NAME,NAME] [--batch 16] [--rounds 5] [--compile] [--clock cpu] >> table.md

All ways read the same gates of the same images in turns, round after round; ratios are medians over rounds of the
plain loop's time in a round over a way's time in that round. Only ratios of one run mean anything.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from statistics import median

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ways import PEERS, Gates, Read, bare_forward, compiled_ways, plain_loop, se_probe_ways
from se_probe.gates import find_gates
from se_probe.recording.fast import fast_copy
from se_probe.recording.hooked import HookedNetwork, signals_for

MODELS = "legacy_seresnet50,skresnext50_32x4d,resnest50d"
BASE = "plain hook loop"
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
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    print(machine(options.threads, options.clock))
    for name in options.models.split(","):
        print(table(name, options.batch, options.rounds, CLOCKS[options.clock], compile=options.compile), flush=True)


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


def table(name: str, batch: int, rounds: int, clock: Callable[[], float], *, compile: bool) -> str:
    """Return the Markdown table of one network."""
    torch.manual_seed(0)
    network = timm.create_model(name).eval().requires_grad_(False)
    images = torch.randn(batch, 3, 224, 224)
    ways, failed = _ways(network, images, compile=compile)
    gates = {way: read(images) for way, read in ways.items()}
    times = _rounds({**ways, **_products()}, images, rounds, clock)
    rates = {way: 2 * SIDE**3 / median(times.pop(way)) / 1e9 for way in _products()}
    work = _work(network, images[:1])
    lines = [
        f"### {name}: {batch} images of 224×224, {rounds} rounds, {work:.1f} GFLOP an image\n",
        f"Matrix products: {rates['float32']:.0f} GFLOP/s in float32, {rates['bfloat16']:.0f} in bfloat16.\n",
        "| way | speed, plain loop = 1 | lowest–highest | images/s | share of the float32 limit | gates differ by |",
        "|---|---|---|---|---|---|",
    ]
    for way, taken in times.items():
        ratios = [base / own for base, own in zip(times[BASE], taken, strict=True)]
        speed = batch / median(taken)
        lines.append(
            f"| {way} | {median(ratios):.2f} | {min(ratios):.2f}–{max(ratios):.2f} | {speed:.1f} "
            f"| {speed * work / rates['float32']:.0%} | {_difference(gates[BASE], gates[way])} |"
        )
    lines += [f"| {way} | {reason} | | | | |" for way, reason in failed.items()]
    return "\n".join([*lines, "", _overheads(times)])


def _ways(network: nn.Module, images: torch.Tensor, *, compile: bool) -> tuple[dict[str, Read], dict[str, str]]:
    sites = find_gates(network)
    paths = [site.tap.module for site in sites if site.tap is not None and site.tap.kind == "output"]
    expected = signals_for(HookedNetwork(network, sites), images[:8])
    fast = fast_copy(network, sites, (), images[:8], expected)
    half = replace(fast, network=deepcopy(fast.network).to(torch.bfloat16))
    ways, failed = {BASE: plain_loop(network, paths), "bare forward": bare_forward(network)}, {}
    for peer, make in PEERS.items():
        try:
            ways[peer] = make(network, paths)
            ways[peer](images[:2])
        except Exception as error:  # a peer that cannot do it is a row of the table
            ways.pop(peer, None)
            failed[peer] = "not installed" if isinstance(error, ImportError) else f"fails: {type(error).__name__}"
    ways |= se_probe_ways(network, fast, half, sites)
    ways["bare forward (default)"] = bare_forward(fast.network, fast.channels_last)
    if compile:
        ways |= compiled_ways(fast, half, sites, tuple(images.shape))
    return ways, failed


def _products() -> dict[str, Read]:
    """Square matrix products, the machine's arithmetic limit."""

    def product(dtype: torch.dtype) -> Read:
        factor = torch.ones(SIDE, SIDE, dtype=dtype)

        def read(_images: torch.Tensor) -> Gates:
            return [factor @ factor]

        return read

    return {"float32": product(torch.float32), "bfloat16": product(torch.bfloat16)}


def _rounds(
    ways: Mapping[str, Read], images: torch.Tensor, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, read in ways.items():
            start = clock()
            read(images)
            if number:  # the first round warms up
                times[way].append(clock() - start)
    return times


def _work(network: nn.Module, image: torch.Tensor) -> float:
    """Return the convolutions' and matrix products' floating-point operations for an image, in 10⁹."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() / 1e9


def _difference(expected: Gates, found: Gates) -> str:
    if not found:
        return "reads none"
    gaps = [(a.float().flatten() - b.float().flatten()).abs().max() for a, b in zip(expected, found, strict=True)]
    largest = float(torch.stack(gaps).max())
    return "0" if largest == 0 else f"{largest:.0e}"


def _overheads(times: Mapping[str, list[float]]) -> str:
    """Say what recording adds to the forward pass at the same settings."""
    pairs = {"--exact": "bare forward", "(default)": "bare forward (default)"}
    parts = []
    for way, bare in pairs.items():
        both = zip(times[f"se-probe {way}"], times[bare], strict=True)
        parts.append(f"{100 * (median(own / alone for own, alone in both) - 1):+.1f} % {way}")
    return f"Recording over the bare forward pass at the same settings: {', '.join(parts)}.\n"


if __name__ == "__main__":
    main()
