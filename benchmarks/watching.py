"""What watching gates costs a training step: the ratio of a step with the watch to one without, in turns.

python -m benchmarks.watching [--every 100] [--rounds 15]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn

import se_probe
from se_probe.demo import photo_network


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, units: torch.Tensor) -> float:
    """Return the processor time of a training step."""
    since = time.process_time()
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(images), units).backward()
    optimizer.step()
    return time.process_time() - since


def main() -> None:
    """Time plain steps, steps inside a watch that are not read, and steps that are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = photo_network("se").train()
    optimizer = torch.optim.SGD(network.parameters(), 1e-4)
    images, units = torch.randn(asked.batch, 3, 64, 64), torch.randint(0, 50, (asked.batch,))
    _step(network, optimizer, images, units)
    sites = se_probe.find_gates(network)
    between, watched = [], []
    for _ in range(asked.rounds):
        plain = _step(network, optimizer, images, units)
        with se_probe.watch(network, every=2, sites=sites, say=lambda line: None):
            watched.append(_step(network, optimizer, images, units) / plain)
            between.append(_step(network, optimizer, images, units) / plain)
    read, unread = statistics.median(watched), statistics.median(between)
    cost = (read + (asked.every - 1) * max(unread, 1.0)) / asked.every - 1
    print(
        f"a step that is read takes {read:.3f} of a plain one, one that is not {unread:.3f} (median of {asked.rounds})"
    )
    print(f"every {asked.every} steps, reading costs {(read - 1) / asked.every:.2%} of a step; all in all {cost:.2%}")


if __name__ == "__main__":
    main()
