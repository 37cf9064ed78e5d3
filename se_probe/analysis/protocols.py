"""What the analyses read: sites, and a recording or anything that gives the same, such as a part of its images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import pandas as pd
import xarray as xr

if TYPE_CHECKING:  # the class itself brings torch, which no analysis needs
    from se_probe.gates.site import GateSite

SiteLike: TypeAlias = "GateSite"


class RecordingLike(Protocol):
    """The part of a recording that curves and class statistics read."""

    @property
    def sites(self) -> Sequence[SiteLike]:
        """Sites in network order."""

    @property
    def chosen(self) -> Sequence[str]:
        """Names of the chosen classes, in the order the user gave them."""

    def moments(self, site: str, /) -> xr.Dataset:
        """`count` (class), `mean` and `m2` (class, [branch,] channel) of every class seen."""


class GateRecording(RecordingLike, Protocol):
    """A recording with the gates of single images, which the measures read."""

    @property
    def classes(self) -> pd.DataFrame:
        """The classes seen: `name`, `wnid` (missing where it has none), …."""

    def gates(self, site: str, /) -> xr.DataArray:
        """Gates (image, [branch,] channel) of the chosen classes, with the coordinate `class`."""
