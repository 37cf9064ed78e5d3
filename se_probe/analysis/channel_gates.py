"""The gates of single images in one channel."""

import numpy as np
import pandas as pd

from se_probe.analysis.gates import chosen_sites
from se_probe.analysis.protocols import GateRecording
from se_probe.errors import SeProbeError


def channel_gates(recording: GateRecording, site: str, channel: int, branch: int = 0) -> pd.DataFrame:
    """Gate of every image of the chosen classes in one channel (of one branch) of a site.

    Returns one row an image, chosen classes in their order: `site`, `activation`, `branch`, `channel`, `class`,
    `image`, its row in the recording's table of images, and `gate`.

    Raises:
        SeProbeError: an unknown site, or a channel or branch that it does not have.
    """
    (found,) = chosen_sites(recording, [site])
    for kind, number, size in (("channel", channel, found.channels), ("branch", branch, found.branches)):
        if not 0 <= number < size:
            raise SeProbeError(f"{site} has no {kind} {number}; expected 0 to {size - 1}")
    gates = recording.gates(site).isel(channel=channel).compute()
    gates = gates.isel(branch=branch) if "branch" in gates.dims else gates
    images = gates["image"].to_numpy() if "image" in gates.coords else np.arange(gates.sizes["image"])
    table = pd.DataFrame(
        {
            "site": site,
            "activation": found.activation,
            "branch": branch,
            "channel": channel,
            "class": gates["class"].to_numpy().astype(str),
            "image": images,
            "gate": gates.to_numpy().astype(np.float64),
        }
    )
    order = {name: place for place, name in enumerate(recording.chosen)}
    return table.sort_values("class", key=lambda names: names.map(order), kind="stable", ignore_index=True)
