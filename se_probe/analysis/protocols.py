"""The parts of a recording that the analyses use."""

from collections.abc import Sequence
from typing import Protocol

import pandas as pd
import xarray as xr


class SiteLike(Protocol):
    """A gate site as the analyses see it: its place, its shape and the range of its values."""

    @property
    def name(self) -> str:
        """Name in the paper's style, `SE_2_3`."""

    @property
    def module(self) -> str:
        """Path of the module in the network."""

    @property
    def family(self) -> str:
        """`SE`, `SK`, `split attention`, `ECA`, … or `other`."""

    @property
    def stage(self) -> int:
        """Stage, from the resolution: stride 4 is stage 2."""

    @property
    def block(self) -> int:
        """Block within the stage, from 1."""

    @property
    def channels(self) -> int:
        """Number of channels (of each branch)."""

    @property
    def branches(self) -> int:
        """Number of competing branches, 1 where none compete."""

    @property
    def activation(self) -> str:
        """What bounds the gate: `sigmoid`, …, `unbounded`."""

    @property
    def reduction(self) -> float | None:
        """Reduction ratio r, None where nothing is reduced."""


class RecordingLike(Protocol):
    """The part of a recording that the analyses read."""

    @property
    def sites(self) -> Sequence[SiteLike]:
        """Sites in network order."""

    @property
    def chosen(self) -> Sequence[str]:
        """Names of the chosen classes, in the order the user gave them."""

    def moments(self, site: str, /) -> xr.Dataset:
        """`count` (class), `mean` and `m2` (class, [branch,] channel) of every class seen."""


class GateSiteLike(SiteLike, Protocol):
    """A site that also says whether its gates have a scale of their own."""

    @property
    def bounded(self) -> bool:
        """Whether the gate lies between 0 and 1."""


class GateRecording(RecordingLike, Protocol):
    """A recording with the gates of single images, which the measures read."""

    @property
    def sites(self) -> Sequence[GateSiteLike]:
        """Sites in network order."""

    @property
    def classes(self) -> pd.DataFrame:
        """The classes seen: `name`, `wnid` (missing where it has none), …."""

    def gates(self, site: str, /) -> xr.DataArray:
        """Gates (image, [branch,] channel) of the chosen classes, with the coordinate `class`."""
