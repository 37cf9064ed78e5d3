"""Types that the analyses read: sites, and recordings or parts of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import pandas as pd
import xarray as xr

if TYPE_CHECKING:  # its module imports torch
    from se_probe.gates.site import GateSite

SiteLike: TypeAlias = "GateSite"


class RecordingLike(Protocol):
    """A recording for curves and class statistics."""

    @property
    def sites(self) -> Sequence[SiteLike]:
        """Sites in network order."""

    @property
    def chosen(self) -> Sequence[str]:
        """Names of the chosen classes, in the order the user gave them."""

    def moments(self, site: str, /) -> xr.Dataset:
        """`count` (class), `mean` and `m2` (class, [branch,] channel) of every class seen."""


class GateRecording(RecordingLike, Protocol):
    """A recording with the gates of single images, for the measures."""

    @property
    def classes(self) -> pd.DataFrame:
        """The classes seen: `name`, `wnid` (missing where it has none), …."""

    def gates(self, site: str, /) -> xr.DataArray:
        """Gates (image, [branch,] channel) of the chosen classes, with the coordinate `class`."""
