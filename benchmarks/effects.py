"""What effects of all channels cost: against a plain recording, and against replacing channels one by one.

    python -m benchmarks.effects [--models NAME,NAME] [--batch 16] [--rounds 5] [--clock cpu]

Passes of one batch are timed in turns: of a plain recording, of one with effects (both by the default engine: channels
last, folded batch norms), and exact replacements of one channel of each image, from a sample of sites, with what comes
before the site kept. Ratios are medians over rounds. Only ratios of one run mean anything.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import timm
import torch
from torch import nn

from benchmarks.speed import CLOCKS, machine
from se_probe.gates import GateSite, exact_effects, find_gates
from se_probe.gates.resuming import Resumable
from se_probe.models import load_model
from se_probe.recording.effects import passes
from se_probe.recording.fast_copy import fast_copy
from se_probe.recording.forward import HookedNetwork, signals_for, start

MODELS = "photo:se,legacy_seresnet50"
SAMPLED_SITES = 4


def main() -> None:
    """Measure the networks that were requested and print one row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: for a machine that others use")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine(options.threads, options.clock))
    print("\n| network | channels | with effects / plain | lowest–highest | one by one / with effects |")
    print("|---|---|---|---|---|")
    for name in options.models.split(","):
        print(_row(name, options.batch, options.rounds, CLOCKS[options.clock]), flush=True)


def _row(name: str, batch: int, rounds: int, clock: Callable[[], float]) -> str:
    network, size = _network(name)
    sites = find_gates(network, size)
    images = torch.randn(batch, *size)
    channels = sum(site.branches * site.channels for site in sites)
    times = [_round(network, sites, images, clock) for _ in range(rounds)]
    ratios = [effects / plain for plain, effects, _ in times]
    alone = median(channels * replaced / effects for _, effects, replaced in times)
    spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
    return f"| {name} | {channels:,} | {median(ratios):.2f} | {spread} | {alone:,.0f} |"


def _network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    if ":" in name:
        model = load_model(name)
        return model.network, model.input_size
    return timm.create_model(name, pretrained=False).eval(), (3, 224, 224)


def _round(
    network: nn.Module, sites: list[GateSite], images: torch.Tensor, clock: Callable[[], float]
) -> tuple[float, float, float]:
    """Return the seconds of a plain batch, of one with effects, and of replacing one channel of each image."""
    plain_way = HookedNetwork(network, sites)
    hooked = fast_copy(plain_way, images[:4], signals_for(plain_way, images[:4])).hooked
    units = [0] * len(images)
    facts = {"outcome": "label", "reference": {s.name: _halves(s) for s in sites}}
    with hooked.hooks():
        plain = _seconds(lambda: start(hooked, images, units).results(), clock)
        with passes(hooked, sites, facts) as begin:
            effects = _seconds(lambda: begin(images, units).results(), clock)
    return plain, effects, _replaced(network, sites, images, clock)


def _halves(site: GateSite) -> list[float] | list[list[float]]:
    row = [0.5] * site.channels
    return row if site.branches == 1 else [row] * site.branches


def _replaced(network: nn.Module, sites: list[GateSite], images: torch.Tensor, clock: Callable[[], float]) -> float:
    """Return the seconds that a replacement of one channel in every image takes, mean over sites."""
    chosen = [sites[place * (len(sites) - 1) // (SAMPLED_SITES - 1)] for place in range(SAMPLED_SITES)]
    resumable = Resumable(network, sites, tuple(images.shape[1:]))
    taken = 0.0
    for site in chosen:
        reference = torch.tensor(_halves(site))
        labels = torch.zeros(len(images), dtype=torch.long)
        for picks, sign in ((3, 1), (1, -1)):
            drawn = torch.zeros(len(images), picks, dtype=torch.long)
            began = clock()
            exact_effects(network, images, site, drawn, reference, labels=labels, passes=resumable)
            taken += sign * (clock() - began)
    return taken / 2 / len(chosen)


def _seconds(run: Callable[[], object], clock: Callable[[], float]) -> float:
    run()
    began = clock()
    run()
    return clock() - began


if __name__ == "__main__":
    main()
