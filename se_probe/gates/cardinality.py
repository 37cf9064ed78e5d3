"""How many cardinal groups compute a gate: the groups of the pointwise convolutions in its module."""

from __future__ import annotations

from torch import nn

from se_probe.gates.site import GateSite


def cardinality(network: nn.Module, site: GateSite) -> int | None:
    """Return the number K of cardinal groups of a site's channels, which lie group by group.

    Read from the last 1×1 convolution inside the site's module: split attention computes the gates of each
    cardinal group from the channels of that group alone. None where the module has none, so that nothing is
    known.

    Source: Zhang et al., ResNeSt: Split-Attention Networks, arXiv 2004.08955, section 3.
    """
    module = network.get_submodule(site.module)
    pointwise = [part for part in module.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1)]
    return pointwise[-1].groups if pointwise else None
