"""The gates of all sites side by side: one row an image, one column a channel of a branch of a site."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.gates import GateSite

Scalar = TypeVar("Scalar", bound=np.generic)


def site_shape(site: GateSite) -> tuple[int, ...]:
    """Return `(channel,)`, or `(branch, channel)` where branches compete."""
    return (site.channels,) if site.branches == 1 else (site.branches, site.channels)


def site_dims(site: GateSite) -> tuple[str, ...]:
    """Return the names of the axes of `site_shape`."""
    return ("channel",) if site.branches == 1 else ("branch", "channel")


def join(gates: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the gates of all sites as `(image, column)`, on their device, without loss: float32 at least."""
    return torch.cat([_at_least_float32(gate.flatten(1)) for gate in gates], dim=1)


def _at_least_float32(gates: torch.Tensor) -> torch.Tensor:
    return gates if gates.dtype == torch.float64 else gates.float()


def split(columns: NDArray[Scalar], sites: Sequence[GateSite]) -> dict[str, NDArray[Scalar]]:
    """Return each site's part of `(row, column)` as `(row, channel)` or `(row, branch, channel)`."""
    stops = np.cumsum([math.prod(site_shape(site)) for site in sites])[:-1]
    parts = np.split(columns, stops, axis=1)
    return {site.name: part.reshape(len(columns), *site_shape(site)) for site, part in zip(sites, parts, strict=True)}
