"""Choose sites of a network: by name, as `find_gates` returned them, or all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.discovery import find_gates
from se_probe.gates.site import GateSite


def choose_sites(network: nn.Module, sites: Iterable[GateSite | str] | None = None, **example: Any) -> list[GateSite]:
    """Return sites of a network; where they are named or not given, a dry pass finds them.

    Args:
        network: the network.
        sites: sites, or their names; None for all.
        example: `input_size` or `inputs` of the dry pass, as for `find_gates`; None is left out.

    Raises:
        SeProbeError: a name is not that of a site of the network, or no gates were found.
    """
    chosen = None if sites is None else list(sites)
    if chosen is not None and not any(isinstance(site, str) for site in chosen):
        return [site for site in chosen if isinstance(site, GateSite)]
    found = find_gates(network, **{name: value for name, value in example.items() if value is not None})
    return found if chosen is None else [_named(item, found) if isinstance(item, str) else item for item in chosen]


def _named(name: str, found: Sequence[GateSite]) -> GateSite:
    names = [site.name for site in found]
    if name in names:
        return found[names.index(name)]
    near = get_close_matches(name, names, n=3, cutoff=0.7)
    expected = f"did you mean {' or '.join(near)}?" if near else f"expected some of {', '.join(names)}."
    raise SeProbeError(f"the network has no site {name!r}; {expected}")
