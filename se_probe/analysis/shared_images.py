"""The images that several recordings have in common, and recordings restricted to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from se_probe.analysis.protocols import SiteLike
from se_probe.errors import SeProbeError

if TYPE_CHECKING:
    from se_probe.recording import Recording

FEWEST_CLASSES = 2
FEWEST_IMAGES = 10
KEY = ["path", "class"]


@dataclass(frozen=True)
class SharedImages:
    """Images and classes that recordings have in common.

    Attributes:
        images: `path` and `class` of the shared chosen images, in the order of the first recording.
        classes: the classes whose images, chosen or not, are the same in all recordings, so that moments are
        comparable.
    """

    images: pd.DataFrame
    classes: tuple[str, ...]


@dataclass(frozen=True)
class NarrowedRecording:
    """A recording restricted to shared images, in their order."""

    recording: Recording
    shared: SharedImages

    @property
    def sites(self) -> Sequence[SiteLike]:
        """Sites in network order."""
        return self.recording.sites

    @property
    def chosen(self) -> list[str]:
        """Names of the classes of the shared images."""
        return list(dict.fromkeys(self.shared.images["class"]))

    @property
    def classes(self) -> pd.DataFrame:
        """The classes shared in whole or by chosen images."""
        table = self.recording.classes
        return table[table["name"].isin({*self.shared.classes, *self.chosen})].reset_index(drop=True)

    def gates(self, site: str, /) -> xr.DataArray:
        """Gates of the shared images (image, [branch,] channel), with the coordinate `class`."""
        gates = self.recording.gates(site).compute()
        kept = pd.MultiIndex.from_frame(self.recording.images.loc[gates["image"].to_numpy(), KEY])
        return gates.isel(image=kept.get_indexer(pd.MultiIndex.from_frame(self.shared.images[KEY])))

    def moments(self, site: str, /) -> xr.Dataset:
        """`count`, `mean` and `m2` of each of `classes`, over its shared images."""
        recorded = self.recording.moments(site).compute()
        parts = [recorded[["count", "mean", "m2"]].sel({"class": list(self.shared.classes)})]
        rest = [name for name in self.chosen if name not in self.shared.classes]
        if rest:
            gates = self.gates(site).astype("float64")
            parts += [_moments(gates[gates["class"].to_numpy() == name], name) for name in rest]
        return xr.concat(parts, dim="class", join="outer", coords="minimal", compat="override")


def shared_images(recordings: Mapping[str, Recording]) -> SharedImages:
    """Find the images that `recordings` (label → recording, two or more) have in common, by path and class.

    Raises:
        SeProbeError: fewer than two recordings, or too few images in common.
    """
    if len(recordings) < 2:
        raise SeProbeError(f"{len(recordings)} runs were given; expected two or more to compare")
    tables = [recording.images for recording in recordings.values()]
    keys = [pd.MultiIndex.from_frame(table.loc[table["role"] == "chosen", KEY]).drop_duplicates() for table in tables]
    images = keys[0][np.logical_and.reduce([keys[0].isin(other) for other in keys])].to_frame(index=False)
    if len(images) < FEWEST_IMAGES or images["class"].nunique() < FEWEST_CLASSES:
        titles = list(dict.fromkeys(str(item.provenance["data"]["title"]) for item in recordings.values()))
        source = f"all of {titles[0]}" if len(titles) == 1 else f"of {', '.join(titles)}"
        number = images["class"].nunique()
        raise SeProbeError(
            f"the runs ({source}) share {len(images)} chosen images of {number} classes, by path and class; expected "
            f"{FEWEST_IMAGES} images of {FEWEST_CLASSES} classes at least, record each network with the same --data, "
            "--classes, --per-class and --seed"
        )
    paths = [{str(name): set(rows["path"]) for name, rows in table.groupby("class", sort=False)} for table in tables]
    whole = [name for name, own in paths[0].items() if all(other.get(name) == own for other in paths[1:])]
    return SharedImages(images, tuple(whole))


def _moments(gates: xr.DataArray, name: str) -> xr.Dataset:
    plain = gates.drop_vars([key for key in gates.coords if "image" in gates[key].dims])
    mean = plain.mean("image")
    moments = xr.Dataset({"count": plain.sizes["image"], "mean": mean, "m2": ((plain - mean) ** 2).sum("image")})
    return moments.expand_dims({"class": [name]})
