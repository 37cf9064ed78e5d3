"""A copy of a network that computes the same gates in less time, held against the network on real images."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from se_probe.errors import first_line
from se_probe.gates import GateSite
from se_probe.recording.agreement import ACCEPTED, deviation
from se_probe.recording.batch_norms import fold_batch_norms
from se_probe.recording.batch_size import seconds
from se_probe.recording.hooked import HookedNetwork, Signals, signals_for


@dataclass(frozen=True)
class FastCopy:
    """A network to run in the place of another.

    Attributes:
        network: the copy; the network itself where no copy was close enough.
        channels_last: whether its input is laid out with channels last.
        folded: number of batch norms that were folded into convolutions.
        deviation: largest difference of its signals from those of the network (see `agreement.deviation`).
        rejected: what was given up, and why.
    """

    network: nn.Module
    channels_last: bool
    folded: int
    deviation: float
    rejected: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Return JSON-able facts for the provenance."""
        return {
            "channels_last": self.channels_last,
            "batch_norms_folded": self.folded,
            "largest_difference": self.deviation,
            "rejected": list(self.rejected),
        }


def fast_copy(
    network: nn.Module,
    sites: Sequence[GateSite],
    capture: Sequence[str],
    images: torch.Tensor,
    expected: Signals,
    timed: torch.Tensor | None = None,
) -> FastCopy:
    """Return the fastest copy whose signals stay within `ACCEPTED` on some images.

    Which memory layout is faster depends on the network (grouped convolutions may prefer channels first) and
    on the machine, so that both are timed.

    Args:
        network: the network, on its device; it is not changed.
        sites: those of its sites to record.
        capture: what to record beside the gates.
        images: `(n, 3, H, W)`, on the host.
        expected: the network's own signals for these images first.
        timed: the batch that copies are timed on; `images` by default. An accelerator needs a batch as large as the
            run's: a small one measures how fast operations are launched.
    """
    expected = {key: values[: len(images)] for key, values in expected.items()}
    rejected: list[str] = []
    found: list[FastCopy] = []
    for channels_last, fold in ((True, True), (True, False), (False, True)):
        if any(item.channels_last == channels_last for item in found):
            continue
        try:
            copy, hooked = _copy(network, sites, capture, images, channels_last=channels_last, fold=fold)
            far = deviation(expected, signals_for(hooked, images))
        except Exception as error:  # views of one memory layout only, and whatever else a network does
            rejected.append(f"{_name(channels_last, fold)}: {first_line(error)}")
            continue
        if far <= ACCEPTED:
            found.append(replace(copy, deviation=far))
        else:
            rejected.append(f"{_name(channels_last, fold)}: gates move by {far:.1e}, more than {ACCEPTED:.0e}")
    found = found if any(not item.channels_last for item in found) else [*found, FastCopy(network, False, 0, 0.0, ())]
    return replace(_fastest(found, sites, capture, images if timed is None else timed), rejected=tuple(rejected))


def _copy(
    network: nn.Module,
    sites: Sequence[GateSite],
    capture: Sequence[str],
    images: torch.Tensor,
    *,
    channels_last: bool,
    fold: bool,
) -> tuple[FastCopy, HookedNetwork]:
    copy = deepcopy(network)
    if channels_last:
        copy = copy.to(memory_format=torch.channels_last)
    hooked = HookedNetwork(copy, sites, capture, channels_last=channels_last)
    folded = fold_batch_norms(copy, hooked.place(images[:1])) if fold else 0
    return FastCopy(copy, channels_last, folded, 0.0, ()), hooked


def _name(channels_last: bool, fold: bool) -> str:
    return " and ".join(["channels last"] * channels_last + ["folded batch norms"] * fold)


def _fastest(
    copies: Sequence[FastCopy], sites: Sequence[GateSite], capture: Sequence[str], images: torch.Tensor
) -> FastCopy:
    """Return the copy that takes least time for a batch, each timed twice in turns."""
    if len(copies) == 1:
        return copies[0]
    times = [float("inf")] * len(copies)
    for turn in range(2):
        for place, copy in enumerate(copies):
            hooked = HookedNetwork(copy.network, sites, capture, channels_last=copy.channels_last)
            with hooked.hooks():
                times[place] = min(times[place], seconds(hooked, images, warm=turn > 0))
    return copies[times.index(min(times))]
